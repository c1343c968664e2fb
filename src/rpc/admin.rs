//! `admin_*`, `net_*`, `web3_*` and `rpc_modules`, as scripts of operators know them from go-ethereum.

use std::sync::Arc;

use clap::ValueEnum;
use devp2p::Enode;
use jsonrpsee::{
    RpcModule,
    server::{PendingSubscriptionSink, RegisterMethodError},
    types::{ErrorObjectOwned, Params},
};
use serde_json::{Map, Value, json};
use sha3::{Digest, Keccak256};
use waku0::PeerInfo;

use super::{
    context::Context,
    values::{Answer, Blob, first, hex, misread, no_subscription},
    waku::methods,
};
use crate::{agent, cli::Namespace};

/// The network that this pretends to be: Ethereum's.  Source: status-go's and go-ethereum's default.
const NETWORK_ID: &str = "1";

/// The peers of this node.
pub(super) fn admin(module: &mut RpcModule<Arc<Context>>) -> Result<(), RegisterMethodError> {
    methods!(module, "admin", {
        "_addPeer" => add_peer,
        "_removePeer" => remove_peer,
        "_addTrustedPeer" => add_trusted_peer,
        "_removeTrustedPeer" => remove_trusted_peer,
        "_nodeInfo" => node_info,
        "_peers" => peers,
        "_datadir" => datadir,
    });
    module.register_subscription(
        "admin_subscribe",
        "admin_subscription",
        "admin_unsubscribe",
        |params, pending, context, _| subscribe(Arc::clone(&context), params, pending),
    )?;
    Ok(())
}

/// How many peers there are.
pub(super) fn net(module: &mut RpcModule<Arc<Context>>) -> Result<(), RegisterMethodError> {
    module.register_method("net_version", |_, _, _| NETWORK_ID)?;
    module.register_method("net_listening", |_, _, _| true)?;
    methods!(module, "net", { "_peerCount" => peer_count, });
    Ok(())
}

/// The name of this program.
pub(super) fn web3(module: &mut RpcModule<Arc<Context>>) -> Result<(), RegisterMethodError> {
    module.register_method("web3_clientVersion", |_, _, _| client_version())?;
    module.register_method("web3_sha3", |params, _, _| {
        let Blob(bytes) = first(&params)?;
        Ok::<_, ErrorObjectOwned>(hex(&Keccak256::digest(bytes)))
    })?;
    Ok(())
}

/// What is served.
pub(super) fn modules(module: &mut RpcModule<Arc<Context>>, api: &[Namespace]) -> Result<(), RegisterMethodError> {
    let names = api.iter().filter_map(|namespace| Some(namespace.to_possible_value()?.get_name().to_owned()));
    let served: Map<String, Value> = names.chain(["rpc".to_owned()]).map(|name| (name, json!("1.0"))).collect();
    module.register_method("rpc_modules", move |_, _, _| Value::Object(served.clone()))?;
    Ok(())
}

/// `["peerEvents"]`.
async fn subscribe(context: Arc<Context>, params: Params<'static>, pending: PendingSubscriptionSink) {
    match first::<String>(&params).as_deref() {
        Ok("peerEvents") => context.peers.feed.serve(pending).await,
        Ok(other) => pending.reject(no_subscription(other)).await,
        Err(error) => pending.reject(error.clone()).await,
    }
}

/// Name, version, system and language, as go-ethereum writes them.
fn client_version() -> String {
    format!("Causeway/v{}/{}-{}/rust", crate::VERSION, std::env::consts::OS, std::env::consts::ARCH)
}

fn enode(params: &Params<'_>) -> Result<Enode, ErrorObjectOwned> {
    first::<String>(params)?.parse().map_err(misread)
}

async fn add_peer(context: Arc<Context>, params: Params<'static>) -> Answer {
    context.keep_connected(enode(&params)?).await?;
    Ok(json!(true))
}

async fn remove_peer(context: Arc<Context>, params: Params<'static>) -> Answer {
    context.leave(enode(&params)?.key).await?;
    Ok(json!(true))
}

async fn add_trusted_peer(context: Arc<Context>, params: Params<'static>) -> Answer {
    context.trust(enode(&params)?.key).await;
    Ok(json!(true))
}

async fn remove_trusted_peer(context: Arc<Context>, params: Params<'static>) -> Answer {
    context.distrust(enode(&params)?.key).await;
    Ok(json!(true))
}

async fn node_info(context: Arc<Context>, _: Params<'static>) -> Answer {
    let (enode, settings) = (context.node.enode(), context.settings());
    let ip = match &enode.host {
        devp2p::Host::Ip(ip) => ip.to_string(),
        devp2p::Host::Dns(name) => name.clone(),
    };
    Ok(json!({
        "id": context.node_id().to_string(),
        "name": agent(),
        "enode": enode.to_string(),
        "enr": context.record.as_ref().map(|record| record.to_base64()),
        "ip": ip,
        "ports": { "discovery": enode.udp, "listener": enode.tcp },
        "listenAddr": format!("{}:{}", ip, enode.tcp),
        "protocols": { "waku": {
            "version": "0",
            "maxMessageSize": settings.max_message_size,
            "minimumPoW": settings.min_pow.value(),
        } },
    }))
}

async fn peers(context: Arc<Context>, _: Params<'static>) -> Answer {
    let peers = context.node.peers().await;
    Ok(peers.iter().map(|peer| described(peer, &context)).collect())
}

fn described(peer: &PeerInfo, context: &Context) -> Value {
    let waku = peer.options.as_ref().map(|options| json!({ "version": "0", "minimumPoW": options.min_pow.value() }));
    json!({
        "enode": format!("enode://{}@{}", peer.key, peer.addr),
        "id": peer.key.id().to_string(),
        "name": peer.client_id,
        "caps": [peer.version.capability().to_string()],
        "network": {
            "localAddress": Value::Null,
            "remoteAddress": peer.addr.to_string(),
            "inbound": peer.inbound,
            "trusted": context.is_trusted(&peer.key),
            "static": context.is_static(&peer.key),
        },
        "protocols": { "waku": waku },
    })
}

async fn datadir(context: Arc<Context>, _: Params<'static>) -> Answer {
    Ok(json!(context.data_dir.display().to_string()))
}

async fn peer_count(context: Arc<Context>, _: Params<'static>) -> Answer {
    Ok(json!(format!("{:#x}", context.node.peers().await.len())))
}
