//! What a person sees first: at most ten lines that say who we are, where we are reached, and what to try.

use std::fmt::{Display, Formatter, Result};

use crate::assemble::Running;

/// The banner of a running bridge; [`Display`] prints it.
#[derive(Debug)]
pub struct Banner<'a>(pub &'a Running);

impl Display for Banner<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self(node) = self;
        writeln!(f, "Causeway {} bridge", crate::VERSION)?;
        writeln!(f, "data       {}", node.data_dir().display())?;
        writeln!(f, "route      {}", node.route())?;
        writeln!(f, "enode      {}", node.enode())?;
        for address in node.addresses().iter().take(2) {
            writeln!(f, "libp2p     {address}")?;
        }
        writeln!(f, "http       http://{}/readyz  /health  /metrics", node.http())?;
        writeln!(f, "see one cross, in two other terminals:")?;
        let listen = node.addresses().first().map(ToString::to_string).unwrap_or_default();
        writeln!(f, "           causeway listen {listen}{}", node.listen_arguments())?;
        write!(f, "           causeway post {} --text hello", node.enode())
    }
}
