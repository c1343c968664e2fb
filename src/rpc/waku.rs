//! Settings, posts, filters and subscriptions.  Spec: 9/WAKU-RPC; status-go `waku/api.go`; go-ethereum 1.9 `whisper/whisperv6/api.go`.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use devp2p::Enode;
use jsonrpsee::{
    RpcModule,
    core::to_json_raw_value,
    server::{PendingSubscriptionSink, RegisterMethodError, SubscriptionSink},
    types::{ErrorObjectOwned, Params},
};
use serde_json::{Value, json};
use waku0::{
    Envelope, PeerInfo, Pow, Topic, Unsealed,
    bloom::{BLOOM_LEN, Bloom},
    confirm::Outcome,
    filter,
    interest::Interest,
    packet::{Code, p2p::encode_messages},
    payload::{self, Content, Key, SealTo},
};

use super::{
    confirmed::{Processed, Said},
    context::Context,
    history, sync,
    values::{Answer, Blob, Criteria, NewMessage, failed, first, message, misread, no_subscription, pow},
};
use crate::{client::Mined, keys::system_rng};

/// Seconds to live where a post names none.  Source: status-go and go-ethereum, `DefaultTTL`.
const DEFAULT_TTL_SECS: u32 = 50;
/// The largest envelope that may be set, in bytes.  Source: status-go `waku/common/const.go`, `MaxMessageSize`.
const MAX_MESSAGE_BYTES: usize = 10 << 20;
/// Longest search for a nonce that a post may ask for, in seconds.
const MAX_POW_SECS: u32 = 120;

/// Registers functions as methods under a prefix.
macro_rules! methods {
    ($module:expr, $prefix:literal, { $($name:literal => $method:expr,)* }) => {
        $($module.register_async_method(concat!($prefix, $name), |params, context, _| {
            $method(Arc::clone(&context), params)
        })?;)*
    };
}
pub(super) use methods;

/// Registers methods of both generations under a prefix.
macro_rules! register {
    ($name:ident, $prefix:literal, $version:literal) => {
        /// The methods of a generation, under its prefix.
        pub(super) fn $name(module: &mut RpcModule<Arc<Context>>) -> Result<(), RegisterMethodError> {
            module.register_method(concat!($prefix, "_version"), |_, _, _| $version)?;
            methods!(module, $prefix, {
                "_info" => info,
                "_setMaxMessageSize" => set_max_message_size,
                "_setMaxEnvelopeSize" => set_max_message_size,
                "_setMinPoW" => set_min_pow,
                "_setBloomFilter" => set_bloom_filter,
                "_bloomFilter" => bloom_filter,
                "_markTrustedPeer" => mark_trusted_peer,
                "_makeLightClient" => make_light_client,
                "_cancelLightClient" => cancel_light_client,
                "_post" => post,
                "_newMessageFilter" => new_message_filter,
                "_getFilterMessages" => get_filter_messages,
                "_deleteMessageFilter" => delete_message_filter,
                "_uninstallFilter" => delete_message_filter,
            });
            module.register_subscription(
                concat!($prefix, "_subscribe"),
                concat!($prefix, "_subscription"),
                concat!($prefix, "_unsubscribe"),
                |params, pending, context, _| subscribe(Arc::clone(&context), params, pending),
            )?;
            Ok(())
        }
    };
}

register!(waku, "waku", "0");
register!(shh, "shh", "6.0");

/// Registers what Status added, of both generations, under a prefix.
macro_rules! register_ext {
    ($name:ident, $prefix:literal) => {
        /// What Status added to the methods of a generation.
        pub(super) fn $name(module: &mut RpcModule<Arc<Context>>) -> Result<(), RegisterMethodError> {
            methods!(module, $prefix, {
                "_post" => post,
                "_getNewFilterMessages" => get_new_filter_messages,
                "_confirmMessagesProcessed" => confirm_messages_processed,
                "_requestMessages" => history::request_messages,
                "_requestMessagesSync" => history::request_messages_sync,
                "_syncMessages" => sync::sync_messages,
            });
            Ok(())
        }
    };
}

register_ext!(wakuext, "wakuext");
register_ext!(shhext, "shhext");

/// The names of all generations for the same.
async fn info(context: Arc<Context>, _: Params<'static>) -> Answer {
    let (settings, counters) = (context.settings(), context.node.counters());
    let (envelopes, memory) = (counters.pooled.load(Relaxed), counters.pooled_bytes.load(Relaxed));
    let (filters, dropped) = context.filter_counts();
    Ok(json!({
        "minPow": settings.min_pow.value(),
        "maxMessageSize": settings.max_message_size,
        "maxEnvelopeSize": settings.max_message_size,
        "memory": memory,
        "messages": envelopes,
        "envelopes": envelopes,
        "filters": filters,
        "filterMessagesDropped": dropped,
    }))
}

async fn set_max_message_size(context: Arc<Context>, params: Params<'static>) -> Answer {
    let size: usize = first(&params)?;
    if size > MAX_MESSAGE_BYTES {
        return Err(failed(format!("the largest envelope is {MAX_MESSAGE_BYTES} bytes")));
    }
    context.set_max_message_size(size).await;
    Ok(json!(true))
}

async fn set_min_pow(context: Arc<Context>, params: Params<'static>) -> Answer {
    context.set_min_pow(pow(first(&params)?)?).await;
    Ok(json!(true))
}

async fn set_bloom_filter(context: Arc<Context>, params: Params<'static>) -> Answer {
    let Blob(bytes) = first(&params)?;
    let bytes: [u8; BLOOM_LEN] =
        bytes.try_into().map_err(|bytes: Vec<u8>| failed(format!("invalid bloom filter size: {}", bytes.len())))?;
    context.set_interest(Interest::Bloom(Bloom::from_bytes(bytes))).await;
    Ok(json!(true))
}

async fn bloom_filter(context: Arc<Context>, _: Params<'static>) -> Answer {
    let bloom = match context.settings().interest {
        Interest::Bloom(bloom) => bloom,
        Interest::Topics(topics) => topics.as_slice().iter().fold(Bloom::EMPTY, |mut bloom, topic| {
            bloom.insert(*topic);
            bloom
        }),
    };
    Ok(json!(context.form.write(bloom.as_bytes())))
}

async fn mark_trusted_peer(context: Arc<Context>, params: Params<'static>) -> Answer {
    let enode: Enode = first::<String>(&params)?.parse().map_err(misread)?;
    if context.trust(enode.key).await { Ok(json!(true)) } else { Err(failed("could not find peer with ID")) }
}

async fn make_light_client(context: Arc<Context>, _: Params<'static>) -> Answer {
    context.set_light(true).await;
    Ok(json!(true))
}

async fn cancel_light_client(context: Arc<Context>, _: Params<'static>) -> Answer {
    context.set_light(false).await;
    Ok(json!(false))
}

/// Answers the hash of the envelope, as status-go and go-ethereum do; 9/WAKU-RPC has `true`.
async fn post(context: Arc<Context>, params: Params<'static>) -> Answer {
    let new: NewMessage = first(&params)?;
    let to = match &*new.target_peer {
        "" => None,
        enode => Some(connected(&context, &enode.parse().map_err(misread)?).await?),
    };
    let target = pow(new.pow_target)?;
    // What goes to one peer alone is judged by nobody.
    if to.is_none() && target < context.settings().min_pow {
        return Err(failed("message rejected, PoW too low"));
    }
    let (topic, data) = sealed(&context, &new)?;
    let ttl = if new.ttl == 0 { DEFAULT_TTL_SECS } else { new.ttl };
    let expiry = u32::try_from(devp2p::clock::now().unix_secs()).unwrap_or(u32::MAX).saturating_add(ttl);
    let unsealed = Unsealed::new(expiry, ttl, topic, data).map_err(failed)?;
    let within = Duration::from_secs(new.pow_time.clamp(1, MAX_POW_SECS).into());
    let mined = {
        let _turn = context.miners.acquire().await.map_err(failed)?;
        tokio::task::spawn_blocking(move || Mined::mine(unsealed, target, within, |_| {})).await.map_err(failed)?
    };
    let envelope =
        mined.map_err(|_| failed("failed to reach the PoW target, specified PoW time is too short"))?.envelope;
    let hash = context.form.write(envelope.hash().as_bytes());
    if let Some(peer) = to {
        for body in encode_messages(peer.version, &[Arc::new(envelope)]) {
            context.node.mail(peer.conn, Code::P2pMessage, body).await.map_err(failed)?;
        }
        return Ok(json!(hash));
    }
    announce(&context, envelope.clone()).await?;
    // A node hears itself too.
    context.offer(&envelope, false);
    Ok(json!(hash))
}

/// Posts an envelope. If anybody subscribes to events, what becomes of it is told: a peer that acknowledges what it gets is waited for.
async fn announce(context: &Arc<Context>, envelope: Envelope) -> Result<(), ErrorObjectOwned> {
    let hash = envelope.hash();
    let (posted, watch) = context.node.post_followed(envelope).await.map_err(failed)?;
    if !context.events.is_heard() {
        return Ok(());
    }
    let peers = context.node.peers().await;
    let confirms = peers.iter().filter_map(|peer| peer.options.as_ref()).any(|options| options.confirmations);
    let (context, sent) = (Arc::clone(context), posted.sent_to > 0);
    if sent && !confirms {
        context.events.posted(hash, sent, &Outcome::Unanswered);
        return Ok(());
    }
    // It ends within the time for which the node follows a post, and the node follows so many.
    tokio::spawn(async move { context.events.posted(hash, sent, &watch.outcome().await) });
    Ok(())
}

/// The connected peer of an enode.
pub(super) async fn connected(context: &Context, enode: &Enode) -> Result<PeerInfo, ErrorObjectOwned> {
    let peers = context.node.peers().await;
    peers.into_iter().find(|peer| peer.key == enode.key).ok_or_else(|| failed("could not find peer with ID"))
}

/// The topic and the data of a post.
fn sealed(context: &Context, new: &NewMessage) -> Result<(Topic, Bytes), ErrorObjectOwned> {
    if new.sym_key.is_empty() == new.pub_key.0.is_empty() {
        return Err(failed("specify either a symmetric or an asymmetric key"));
    }
    let sign = if new.sig.is_empty() { None } else { Some(context.key_pair(&new.sig)?) };
    let topic = match new.topic.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => text.parse().map_err(misread)?,
        None => Topic([0; 4]),
    };
    let content = Content { payload: new.payload.0.clone().into(), padding: new.padding.0.clone().into() };
    let (shared, reader);
    let to = if new.sym_key.is_empty() {
        reader = new.pub_key.public_key().ok_or_else(|| failed("invalid public key"))?;
        SealTo::Public(&reader)
    } else {
        if topic == Topic([0; 4]) {
            return Err(failed("missing topic(s)"));
        }
        shared = context.sym_key(&new.sym_key)?;
        SealTo::Symmetric(&shared)
    };
    Ok((topic, payload::seal(&content, to, sign.as_ref(), &mut system_rng()).map_err(failed)?))
}

/// What a filter asks for, with its keys.
fn criteria(context: &Context, asked: Criteria, needs_topics: bool) -> Result<filter::Criteria, ErrorObjectOwned> {
    if asked.sym_key.is_empty() == asked.private_key.is_empty() {
        return Err(failed("specify either a symmetric or an asymmetric key"));
    }
    let key = if asked.sym_key.is_empty() {
        Key::Private(context.key_pair(&asked.private_key)?)
    } else if needs_topics && asked.topics.0.is_empty() {
        return Err(failed("missing topic(s)"));
    } else {
        Key::Symmetric(context.sym_key(&asked.sym_key)?)
    };
    let sender = match &asked.sig {
        Blob(bytes) if bytes.is_empty() => None,
        blob => Some(blob.public_key().ok_or_else(|| failed("invalid signing public key"))?),
    };
    let min_pow: Pow = pow(asked.min_pow)?;
    Ok(filter::Criteria { key, topics: asked.topics.0, sender, min_pow, allow_p2p: asked.allow_p2p })
}

async fn new_message_filter(context: Arc<Context>, params: Params<'static>) -> Answer {
    let criteria = criteria(&context, first(&params)?, false)?;
    Ok(json!(context.install(criteria)?.to_string()))
}

async fn get_filter_messages(context: Arc<Context>, params: Params<'static>) -> Answer {
    let messages = polled(&context, &params)?;
    Ok(messages.iter().map(|one| message(one, context.form)).collect())
}

/// The same without what was confirmed as processed.
async fn get_new_filter_messages(context: Arc<Context>, params: Params<'static>) -> Answer {
    let messages = polled(&context, &params)?;
    let new = messages.iter().filter(|one| !context.is_confirmed(&Said::from(&***one)));
    Ok(new.map(|one| message(one, context.form)).collect())
}

fn polled(context: &Context, params: &Params<'_>) -> Result<Vec<Arc<filter::Message>>, ErrorObjectOwned> {
    let id: String = first(params)?;
    id.parse().ok().and_then(|id| context.poll(id)).ok_or_else(|| failed("filter not found"))
}

async fn confirm_messages_processed(context: Arc<Context>, params: Params<'static>) -> Answer {
    let processed: Vec<Processed> = first(&params)?;
    context.confirm(processed.iter().map(Said::from));
    Ok(Value::Null)
}

async fn delete_message_filter(context: Arc<Context>, params: Params<'static>) -> Answer {
    let id: String = first(&params)?;
    let removed = id.parse().is_ok_and(|id| context.remove(id));
    if removed { Ok(json!(true)) } else { Err(failed("filter not found")) }
}

/// `["messages", criteria]` or `["events"]`.
async fn subscribe(context: Arc<Context>, params: Params<'static>, pending: PendingSubscriptionSink) {
    let mut sequence = params.sequence();
    match sequence.next::<String>().as_deref() {
        Ok("messages") => subscribe_messages(context, sequence.next(), pending).await,
        Ok("events") => context.events.serve(pending).await,
        Ok(other) => pending.reject(no_subscription(other)).await,
        Err(error) => pending.reject(error.clone()).await,
    }
}

/// The filter lives as long as the subscription.
async fn subscribe_messages(
    context: Arc<Context>,
    asked: Result<Criteria, ErrorObjectOwned>,
    pending: PendingSubscriptionSink,
) {
    let asked = asked.and_then(|asked| criteria(&context, asked, true));
    let (id, told) = match asked.and_then(|criteria| context.subscribe(criteria)) {
        Ok(subscribed) => subscribed,
        Err(error) => return pending.reject(error).await,
    };
    if let Ok(sink) = pending.accept().await {
        loop {
            tokio::select! {
                () = sink.closed() => break,
                () = told.notified() => if !push(&context, id, &sink).await { break },
            }
        }
    }
    context.unsubscribe(id);
}

/// Returns whether somebody still reads.
async fn push(context: &Context, id: filter::FilterId, sink: &SubscriptionSink) -> bool {
    for one in context.poll(id).unwrap_or_default() {
        let Ok(value) = to_json_raw_value(&message(&one, context.form)) else { continue };
        if sink.send(value).await.is_err() {
            return false;
        }
    }
    true
}
