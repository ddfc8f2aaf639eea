//! JSON documents that users' programs read (INTERFACE 4), as serde structs: written by coordinators, read by
//! the CLI for its tables. Fields may be added and never change their meaning; unknown ones are ignored.
