//! Keys that a node keeps for its clients.  Spec: 9/WAKU-RPC, "waku_newKeyPair" to "waku_deleteSymKey".

use std::sync::Arc;

use devp2p::NodeKey;
use jsonrpsee::{RpcModule, server::RegisterMethodError, types::Params};
use serde_json::json;
use waku0::payload::{Key, SymKey};

use super::{
    context::Context,
    values::{Answer, Blob, failed, first, hex, private_key, sec1},
};
use crate::keys::system_rng;

/// Registers methods of both generations under a prefix.
macro_rules! register {
    ($name:ident, $prefix:literal) => {
        /// The methods about keys, under this prefix.
        pub(super) fn $name(module: &mut RpcModule<Arc<Context>>) -> Result<(), RegisterMethodError> {
            super::waku::methods!(module, $prefix, {
                "_newKeyPair" => new_key_pair,
                "_addPrivateKey" => add_private_key,
                "_deleteKeyPair" => delete_key_pair,
                "_hasKeyPair" => has_key_pair,
                "_getPublicKey" => get_public_key,
                "_getPrivateKey" => get_private_key,
                "_newSymKey" => new_sym_key,
                "_addSymKey" => add_sym_key,
                "_generateSymKeyFromPassword" => sym_key_from_password,
                "_hasSymKey" => has_sym_key,
                "_getSymKey" => get_sym_key,
                "_deleteSymKey" => delete_sym_key,
            });
            Ok(())
        }
    };
}

register!(waku, "waku");
register!(shh, "shh");

fn is_pair(key: &Key) -> bool {
    matches!(key, Key::Private(_))
}

fn is_symmetric(key: &Key) -> bool {
    matches!(key, Key::Symmetric(_))
}

async fn new_key_pair(context: Arc<Context>, _: Params<'static>) -> Answer {
    Ok(json!(context.keep(Key::Private(NodeKey::generate(&mut system_rng()))).await?))
}

async fn add_private_key(context: Arc<Context>, params: Params<'static>) -> Answer {
    let Blob(bytes) = first(&params)?;
    Ok(json!(context.keep(Key::Private(private_key(&hex::encode(bytes))?)).await?))
}

/// Of an id that there is not, deployed nodes say so, other than for symmetric keys.
async fn delete_key_pair(context: Arc<Context>, params: Params<'static>) -> Answer {
    let id: String = first(&params)?;
    if context.forget(&id, is_pair).await? { Ok(json!(true)) } else { Err(failed("key pair not found")) }
}

async fn has_key_pair(context: Arc<Context>, params: Params<'static>) -> Answer {
    let id: String = first(&params)?;
    Ok(json!(context.key(&id).as_ref().is_some_and(is_pair)))
}

async fn get_public_key(context: Arc<Context>, params: Params<'static>) -> Answer {
    let id: String = first(&params)?;
    Ok(json!(context.form.write(&sec1(&context.key_pair(&id)?.public()))))
}

async fn get_private_key(context: Arc<Context>, params: Params<'static>) -> Answer {
    let id: String = first(&params)?;
    Ok(json!(hex(&context.key_pair(&id)?.to_bytes())))
}

async fn new_sym_key(context: Arc<Context>, _: Params<'static>) -> Answer {
    Ok(json!(context.keep(Key::Symmetric(SymKey::generate(&mut system_rng()))).await?))
}

async fn add_sym_key(context: Arc<Context>, params: Params<'static>) -> Answer {
    let Blob(bytes) = first(&params)?;
    let bytes = bytes.try_into().map_err(|bytes: Vec<u8>| failed(format!("wrong key size: {}", bytes.len())))?;
    Ok(json!(context.keep(Key::Symmetric(SymKey::from_bytes(bytes).map_err(failed)?)).await?))
}

async fn sym_key_from_password(context: Arc<Context>, params: Params<'static>) -> Answer {
    let password: String = first(&params)?;
    let key = tokio::task::spawn_blocking(move || SymKey::from_password(&password)).await.map_err(failed)?;
    Ok(json!(context.keep(Key::Symmetric(key)).await?))
}

async fn has_sym_key(context: Arc<Context>, params: Params<'static>) -> Answer {
    let id: String = first(&params)?;
    Ok(json!(context.key(&id).as_ref().is_some_and(is_symmetric)))
}

async fn get_sym_key(context: Arc<Context>, params: Params<'static>) -> Answer {
    let id: String = first(&params)?;
    Ok(json!(context.form.write(&context.sym_key(&id)?.to_bytes())))
}

async fn delete_sym_key(context: Arc<Context>, params: Params<'static>) -> Answer {
    let id: String = first(&params)?;
    Ok(json!(context.forget(&id, is_symmetric).await?))
}
