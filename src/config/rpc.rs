//! Flags about JSON-RPC, checked.

use std::{net::SocketAddr, path::PathBuf};

use super::{ConfigError, shifted};
use crate::{
    cli::{BytesForm, Namespace, RpcArgs},
    http::origins::Pattern,
};

/// Where JSON-RPC is served, to whom, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rpc {
    /// HTTP.
    pub http: Option<SocketAddr>,
    /// WebSocket.
    pub ws: Option<SocketAddr>,
    /// Whether there is a Unix socket.
    pub ipc: bool,
    /// Where, if not in the data directory.
    pub ipc_path: Option<PathBuf>,
    /// What is served over HTTP and WebSocket.
    pub api: Vec<Namespace>,
    /// How bytes are written.
    pub bytes: BytesForm,
    /// Names by which it may be asked for, in lower case.
    pub hosts: Vec<String>,
    /// Whose pages may use it.
    pub origins: Vec<Pattern>,
}

/// Reads the flags; `None` where nothing is served.
pub(super) fn rpc(args: RpcArgs, ports_shift: u16) -> Result<Option<Rpc>, ConfigError> {
    if !(args.rpc || args.ws || args.ipc) {
        return Ok(None);
    }
    let at = |on: bool, ip, port| -> Result<_, ConfigError> {
        on.then(|| Ok(SocketAddr::new(ip, shifted(port, ports_shift)?))).transpose()
    };
    Ok(Some(Rpc {
        http: at(args.rpc, args.rpc_address, args.rpc_port)?,
        ws: at(args.ws, args.ws_address, args.ws_port)?,
        ipc: args.ipc,
        ipc_path: args.ipc_path,
        api: args.rpc_api,
        bytes: args.rpc_bytes,
        hosts: args.rpc_allow_host.iter().map(|host| host.to_ascii_lowercase()).collect(),
        origins: args.rpc_allow_origin.into_iter().filter(|pattern| !pattern.is_empty()).collect(),
    }))
}
