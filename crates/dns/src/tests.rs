mod bytes;
mod fixture;
mod names;
mod records;
mod size;
