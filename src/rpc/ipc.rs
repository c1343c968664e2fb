//! The Unix socket: a stream of JSON values each way, with subscriptions. Values are told apart by where they end, not by lines.
//!
//! Ids of subscriptions are numbers here, and texts on WebSocket; clients hand them back as they came.
//!
//! Limits: [`MAX_CLIENTS`] clients, of which further ones wait; a value of [`MAX_REQUEST_BYTES`]; [`ANSWERS`] answers that a
//! client has not read, above which it is not heard until it reads.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use jsonrpsee::RpcModule;
use serde_json::{Value, json, value::RawValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
    task::{JoinHandle, JoinSet},
};

use super::{Context, MAX_BATCH, MAX_REQUEST_BYTES, MAX_SUBSCRIPTIONS};

/// Clients at a time.
const MAX_CLIENTS: usize = 32;
/// Answers and notifications on their way to a client.
const ANSWERS: usize = 64;
/// Bytes read at once.
const CHUNK: usize = 64 << 10;

type Module = Arc<RpcModule<Arc<Context>>>;

/// Listens until the task is aborted. A socket that nobody listens on any more is taken over.
///
/// # Errors
/// If the socket can't be made, or somebody listens on it.
pub(super) fn serve(path: &Path, module: RpcModule<Arc<Context>>) -> io::Result<JoinHandle<()>> {
    if path.exists() && std::os::unix::net::UnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    let (module, slots) = (Arc::new(module), Arc::new(Semaphore::new(MAX_CLIENTS)));
    Ok(tokio::spawn(async move {
        let mut clients = JoinSet::new();
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let module = Arc::clone(&module);
                    clients.spawn(async move {
                        // Who goes without a word is no fault of ours.
                        let _ = client(stream, module).await;
                        drop(slot);
                    });
                }
                // Too many open files, for example; it may pass.
                Err(error) => tracing::warn!(%error, "JSON-RPC: a client of the Unix socket was lost"),
            }
            while clients.try_join_next().is_some() {}
        }
    }))
}

async fn client(stream: UnixStream, module: Module) -> io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    let (answers, mut outbox) = mpsc::channel::<String>(ANSWERS);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(answer) = outbox.recv().await {
            if writer.write_all(answer.as_bytes()).await.is_err() || writer.write_all(b"\n").await.is_err() {
                return;
            }
        }
    });
    let (mut buffer, mut chunk) = (Vec::new(), vec![0; CHUNK]);
    loop {
        match next_value(&mut buffer) {
            Next::Value(value) => {
                let answer = answer(&value, &module, &answers, &mut tasks).await;
                if answers.send(answer).await.is_err() {
                    return Ok(());
                }
            }
            Next::Broken => {
                // Where the next value begins is not known any more.
                let _ = answers.send(refusal(-32700, "parse error")).await;
                drop(answers);
                while tasks.join_next().await.is_some() {}
                return Ok(());
            }
            Next::More => match reader.read(&mut chunk).await? {
                0 => return Ok(()),
                read => buffer.extend_from_slice(&chunk[..read]),
            },
        }
    }
}

enum Next {
    Value(Box<RawValue>),
    More,
    Broken,
}

/// Takes a whole value out of what was read.
fn next_value(buffer: &mut Vec<u8>) -> Next {
    let mut values = serde_json::Deserializer::from_slice(buffer).into_iter::<Box<RawValue>>();
    let next = match values.next() {
        Some(Ok(value)) => Next::Value(value),
        Some(Err(error)) if error.is_eof() && buffer.len() < MAX_REQUEST_BYTES as usize => Next::More,
        Some(Err(_)) => Next::Broken,
        None => Next::More,
    };
    let end = values.byte_offset();
    if let Next::Value(_) = &next {
        buffer.drain(..end);
    }
    next
}

/// One call, or several.
async fn answer(value: &RawValue, module: &Module, out: &mpsc::Sender<String>, tasks: &mut JoinSet<()>) -> String {
    if !value.get().starts_with('[') {
        return call(value.get(), module, out, tasks).await;
    }
    match serde_json::from_str::<Vec<Box<RawValue>>>(value.get()) {
        Ok(calls) if calls.is_empty() => refusal(-32600, "empty batch"),
        Ok(calls) if calls.len() > MAX_BATCH as usize => refusal(-32600, "batch too large"),
        Ok(calls) => {
            let mut answers = Vec::new();
            for one in calls {
                answers.push(call(one.get(), module, out, tasks).await);
            }
            format!("[{}]", answers.join(","))
        }
        Err(_) => refusal(-32700, "parse error"),
    }
}

async fn call(request: &str, module: &Module, out: &mpsc::Sender<String>, tasks: &mut JoinSet<()>) -> String {
    let Ok((answer, mut notifications)) = module.raw_json_request(request, ANSWERS).await else {
        return refusal(-32600, "invalid request");
    };
    while tasks.try_join_next().is_some() {}
    // What is closed already was no subscription; and one of the tasks writes.
    if !notifications.is_closed() && tasks.len() <= MAX_SUBSCRIPTIONS as usize {
        let out = out.clone();
        tasks.spawn(async move {
            while let Some(notification) = notifications.recv().await {
                if out.send(notification.get().to_owned()).await.is_err() {
                    return;
                }
            }
        });
    }
    answer.get().to_owned()
}

fn refusal(code: i32, message: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": Value::Null, "error": { "code": code, "message": message } }).to_string()
}
