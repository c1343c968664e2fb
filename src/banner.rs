//! What a person sees first: at most a dozen lines that say who we are, where we are reached, and what to try.

use std::fmt::{Display, Formatter, Result};

use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};
use waku2::Multiaddr;

use crate::assemble::Running;

/// The banner of a running node; [`Display`] prints it.
#[derive(Debug)]
pub struct Banner<'a>(pub &'a Running);

impl Display for Banner<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self(node) = self;
        let kind = match (node.route(), node.enode(), node.addresses().first()) {
            (Some(_), ..) => "bridge",
            (None, Some(_), Some(_)) => "node of the Waku Network and of waku/0",
            (None, None, _) => "node of the Waku Network",
            (None, Some(_), None) if node.mail_enode().is_some() => "mailserver of waku/0",
            (None, Some(_), None) => "waku/0 node",
        };
        writeln!(f, "Causeway {} {kind}", crate::VERSION)?;
        writeln!(f, "data       {}", node.data_dir().display())?;
        if let Some(route) = node.route() {
            writeln!(f, "route      {route}")?;
        }
        if let Some(enode) = node.enode() {
            writeln!(f, "enode      {enode}")?;
        }
        if let Some(enode) = node.mail_enode() {
            writeln!(f, "mail       {enode}")?;
        }
        // One for each way to come, and that for `causeway listen` first.
        let (web, tcp): (Vec<_>, Vec<_>) = node.addresses().iter().partition(|address| is_websocket(address));
        for address in tcp.first().into_iter().chain(web.first()) {
            writeln!(f, "libp2p     {address}")?;
        }
        if let Some(http) = node.http() {
            writeln!(f, "http       http://{http}/readyz  /health  /metrics")?;
        }
        if let Some(metrics) = node.metrics() {
            writeln!(f, "metrics    http://{metrics}/metrics")?;
        }
        let rpc: Vec<_> = node.rpc().collect();
        if !rpc.is_empty() {
            writeln!(f, "json-rpc   {}", rpc.join("  "))?;
        }
        self.to_try(f)
    }
}

impl Banner<'_> {
    fn to_try(&self, f: &mut Formatter<'_>) -> Result {
        let Self(node) = self;
        let arguments = node.client_arguments();
        let enode = node.enode().map(|enode| (enode.to_string(), ""));
        let address = node.addresses().first().map(|address| (address.to_string(), arguments));
        let posts_to = match node.route() {
            Some(_) => enode.clone(),
            None => address.clone().or_else(|| enode.clone()),
        };
        let (Some(listen), Some(post)) = (address.or(enode), posts_to) else { return Ok(()) };
        let way = if node.route().is_some() { "cross" } else { "pass" };
        writeln!(f, "see one {way}, in two other terminals:")?;
        writeln!(f, "           causeway listen {}{}", listen.0, listen.1)?;
        write!(f, "           causeway post {}{} --text hello", post.0, post.1)
    }
}

/// The address for clients that ask for history, as a code to be photographed; `None` where none is served.
#[must_use]
pub fn mail_code(node: &Running) -> Option<String> {
    let code = QrCode::with_error_correction_level(node.mail_enode()?, EcLevel::L).ok()?;
    Some(code.render::<Dense1x2>().build())
}

fn is_websocket(address: &Multiaddr) -> bool {
    let text = address.to_string();
    text.contains("/ws/") || text.contains("/wss/")
}
