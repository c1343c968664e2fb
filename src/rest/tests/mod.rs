//! Every row and status of nwaku's table, the document, and requests made of the document.

mod admin;
mod case;
mod debug;
mod document;
mod filter;
mod fuzz;
mod lightpush;
mod relay;
mod rows;
mod server;
mod store;
mod world;
