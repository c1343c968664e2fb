//! Node lists in DNS (EIP-1459): reading them, following them, and making them.
//!
//! ```text
//! link        enrtree://<key>@<domain>: a list, and the key that must have signed it
//! tree        the records of a list; making and signing one
//! resolve     core: which name to ask for next; answers in, verified node records out
//! run         shell: a DNS resolver and a timer
//! ```
//! Nothing is believed but what the key of the link signed: the root is checked against it, every other record against the
//! hash by which it was named. Limits: texts of 4,096 bytes, 4,096 records a list, 8 lists, 3 queries a second.

mod link;
pub mod resolve;
mod run;
pub mod tree;

pub use link::{Link, LinkError};
pub use resolve::{Event, LookupError, Resolver, Trouble};
pub use run::{Client, Config, DEFAULT_NAME_SERVERS, StartError};
pub use tree::{Entry, Label, Root, Tree, TreeError};
