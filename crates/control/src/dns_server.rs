//! DNS sockets.
