mod hpack;
