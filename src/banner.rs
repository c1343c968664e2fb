//! What a person sees first: at most ten lines that say who we are, where we are reached, and what to try.

use std::fmt::{Display, Formatter, Result};

use waku2::Multiaddr;

use crate::assemble::Running;

/// The banner of a running bridge; [`Display`] prints it.
#[derive(Debug)]
pub struct Banner<'a>(pub &'a Running);

impl Display for Banner<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self(node) = self;
        let kind = if node.route().is_some() { "bridge" } else { "waku/0 node" };
        writeln!(f, "Causeway {} {kind}", crate::VERSION)?;
        writeln!(f, "data       {}", node.data_dir().display())?;
        if let Some(route) = node.route() {
            writeln!(f, "route      {route}")?;
        }
        writeln!(f, "enode      {}", node.enode())?;
        // One for each way to come, and that for `causeway listen` first.
        let (web, tcp): (Vec<_>, Vec<_>) = node.addresses().iter().partition(|address| is_websocket(address));
        for address in tcp.first().into_iter().chain(web.first()) {
            writeln!(f, "libp2p     {address}")?;
        }
        writeln!(f, "http       http://{}/readyz  /health  /metrics", node.http())?;
        let (see, listen_at) = match node.addresses().first() {
            Some(address) => ("see one cross, in two other terminals:", address.to_string()),
            None => ("see one pass, in two other terminals:", node.enode().to_string()),
        };
        writeln!(f, "{see}")?;
        writeln!(f, "           causeway listen {listen_at}{}", node.listen_arguments())?;
        write!(f, "           causeway post {} --text hello", node.enode())
    }
}

fn is_websocket(address: &Multiaddr) -> bool {
    let text = address.to_string();
    text.contains("/ws/") || text.contains("/wss/")
}
