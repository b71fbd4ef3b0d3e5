mod access;
mod bytes;
mod fixture;
mod names;
mod queries;
mod records;
mod size;
