//! A name server on loopback that knows a few TXT records: for tests that read lists of nodes over real DNS.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use hickory_resolver::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{RData, Record, RecordType, rdata::TXT},
};

/// How long it may go on after it was dropped.
const LOOK_UP: Duration = Duration::from_millis(100);
/// Longest query that is read, in bytes; longer ones are cut off and then unreadable.
const MAX_QUERY_BYTES: usize = 1500;
/// Of the strings that a text is split into: shorter than they may be, so that readers must join them.
const STRING_BYTES: usize = 100;
/// For how long answers may be kept, in seconds.
const TTL_SECS: u32 = 60;

/// Serves until it is dropped.
#[derive(Debug)]
pub(crate) struct NameServer {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Serves these texts by name.
    pub(crate) fn start(records: impl IntoIterator<Item = (String, String)>) -> std::io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(LOOK_UP))?;
        let (addr, stop) = (socket.local_addr()?, Arc::new(AtomicBool::new(false)));
        let (records, stopped) = (records.into_iter().collect(), Arc::clone(&stop));
        let thread = thread::spawn(move || serve(&socket, &records, &stopped));
        Ok(Self { addr, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // It panicked, or it did not; the test has its own opinion.
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, records: &BTreeMap<String, String>, stopped: &AtomicBool) {
    let mut buffer = [0; MAX_QUERY_BYTES];
    while !stopped.load(Relaxed) {
        // Nothing came for a while, or something that is no query: packets for whoever had this port before come here too.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        if let Some(answer) = answer(records, &buffer[..length]) {
            // Whoever asked may be gone.
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn answer(records: &BTreeMap<String, String>, query: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    let question = query.queries.first()?.clone();
    let name = question.name().to_string();
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    match records.get(name.trim_end_matches('.')) {
        None => answer.metadata.response_code = ResponseCode::NXDomain,
        Some(text) if question.query_type() == RecordType::TXT => {
            let data = RData::TXT(TXT::from_bytes(text.as_bytes().chunks(STRING_BYTES).collect()));
            answer.add_answer(Record::from_rdata(question.name().clone(), TTL_SECS, data));
        }
        Some(_) => {} // There are no others of the name.
    }
    answer.add_query(question);
    answer.to_vec().ok()
}
