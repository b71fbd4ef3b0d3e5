mod access;
mod bytes;
mod corpus;
mod fixture;
mod names;
mod queries;
mod records;
mod size;
