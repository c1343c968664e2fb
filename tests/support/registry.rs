//! A chain with one contract of members, of the current form, as its providers answer about it: JSON-RPC, in memory and over HTTP.
//!
//! What is sent comes into a block when somebody asks about it, and waits until then. The deposit has to be approved first. It may be told
//! to fall silent at a certain question, before it has acted on it or after.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use serde_json::{Value, json};
use sha3::{Digest as _, Keccak256};

/// The index of the first member.
pub(crate) const FIRST: u64 = 4;
/// What a membership costs of the token, whatever its limit.
const DEPOSIT: u64 = 10;

/// When it falls silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silent {
    Before,
    After,
}

/// The chain. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Registry(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    chain: u64,
    silent: Option<(usize, Silent)>,
    /// Questions so far.
    asked: usize,
    approved: bool,
    /// All members are in their grace period, until they are extended.
    in_grace: bool,
    /// Commitments with their limits, by index.
    members: Vec<(String, u64)>,
    /// In no block yet: hash, call.
    waiting: Vec<(String, Call)>,
    /// In blocks: hash, whether it did what it should, the member that it made.
    done: Vec<(String, bool, Option<usize>)>,
}

#[derive(Debug)]
enum Call {
    Approve,
    Register { commitment: String, limit: u64 },
    Extend,
}

impl Registry {
    pub(crate) fn new(chain: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            chain,
            silent: None,
            asked: 0,
            approved: false,
            in_grace: false,
            members: Vec::new(),
            waiting: Vec::new(),
            done: Vec::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics here")
    }

    /// Answers no more from this question on, counted from now.
    pub(crate) fn falls_silent(&self, at: usize, when: Silent) {
        let mut state = self.state();
        state.silent = Some((state.asked + at, when));
    }

    pub(crate) fn speaks(&self) {
        self.state().silent = None;
    }

    /// Who is a member, in hex, and with what limit.
    pub(crate) fn members(&self) -> Vec<(String, u64)> {
        self.state().members.clone()
    }

    /// All members have this limit from now on, whatever they registered for.
    pub(crate) fn limits_all(&self, limit: u64) {
        self.state().members.iter_mut().for_each(|(_, own)| *own = limit);
    }

    /// All members come into their grace period.
    pub(crate) fn ages(&self) {
        self.state().in_grace = true;
    }

    /// How many transactions are in blocks, and how many of these did nothing.
    pub(crate) fn transactions(&self) -> (usize, usize) {
        let state = self.state();
        (state.done.len(), state.done.iter().filter(|(_, success, _)| !success).count())
    }

    /// The answer to a question; none when it is silent.
    pub(crate) fn answer(&self, question: &[u8]) -> Option<String> {
        let question: Value = serde_json::from_slice(question).expect("a question is JSON");
        let mut state = self.state();
        let silent = state.silent.filter(|(at, _)| state.asked >= *at).map(|(_, when)| when);
        state.asked += 1;
        if silent == Some(Silent::Before) {
            return None;
        }
        let answer = match state.result(&question) {
            Ok(result) => json!({"jsonrpc": "2.0", "id": question["id"], "result": result}),
            Err(error) => json!({"jsonrpc": "2.0", "id": question["id"], "error": error}),
        };
        silent.is_none().then(|| answer.to_string())
    }

    /// Answers over HTTP for as long as the test runs. The address to ask.
    pub(crate) fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let registry = self.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let registry = registry.clone();
                thread::spawn(move || registry.converse(connection));
            }
        });
        url
    }

    /// One question a connection. Whoever gets no answer waits until it hangs up.
    fn converse(&self, connection: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(connection.try_clone().ok()?);
        let mut length = 0;
        for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
            let header = line.to_ascii_lowercase();
            length = header.strip_prefix("content-length:").map_or(length, |value| value.trim().parse().unwrap_or(0));
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        match self.answer(&body) {
            Some(answer) => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
                (&connection).write_all((head + &answer).as_bytes()).ok()
            }
            None => reader.read_to_end(&mut body).ok().map(|_| ()),
        }
    }
}

impl State {
    fn result(&mut self, question: &Value) -> Result<Value, Value> {
        let params = &question["params"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match text(&question["method"]).as_str() {
            "eth_chainId" => Ok(json!(format!("{:#x}", self.chain))),
            "eth_gasPrice" => Ok(json!("0x3")),
            "eth_maxPriorityFeePerGas" => Ok(json!("0x1")),
            "eth_getBalance" => Ok(json!("0xffffffffffff")),
            "eth_getTransactionCount" => {
                if params[1] == "latest" {
                    self.mine();
                }
                Ok(json!(format!("{:#x}", self.done.len() + self.waiting.len())))
            }
            "eth_estimateGas" => self.estimate(&text(&params[0]["data"])),
            "eth_sendRawTransaction" => Ok(json!(self.take(&text(&params[0])))),
            "eth_getTransactionReceipt" => Ok(self.receipt(&text(&params[0]))),
            "eth_call" => self.call(&text(&params[0]["data"])),
            method => Err(json!({"code": -32_601, "message": format!("no method {method}")})),
        }
    }

    /// What waits comes into a block.
    fn mine(&mut self) {
        for (hash, call) in std::mem::take(&mut self.waiting) {
            let (success, member) = self.happen(call);
            self.done.push((hash, success, member));
        }
    }

    fn happen(&mut self, call: Call) -> (bool, Option<usize>) {
        match call {
            Call::Approve => {
                self.approved = true;
                (true, None)
            }
            // Whoever is not in grace cannot be extended.
            Call::Extend => (std::mem::take(&mut self.in_grace), None),
            Call::Register { commitment, .. } if !self.approved || self.is_member(&commitment) => (false, None),
            Call::Register { commitment, limit } => {
                self.members.push((commitment, limit));
                (true, Some(self.members.len() - 1))
            }
        }
    }

    fn is_member(&self, commitment: &str) -> bool {
        self.members.iter().any(|(member, _)| member == commitment)
    }

    fn estimate(&self, data: &str) -> Result<Value, Value> {
        let refused = match call(data) {
            Some(Call::Register { commitment, .. }) => !self.approved || self.is_member(&commitment),
            Some(Call::Extend) => !self.in_grace,
            _ => false,
        };
        if refused { Err(json!({"code": 3, "message": "execution reverted"})) } else { Ok(json!("0x64")) }
    }

    /// A transaction is handed in.
    fn take(&mut self, signed: &str) -> String {
        let digits = signed.trim_start_matches("0x");
        let hash = format!("0x{}", hex::encode(Keccak256::digest(hex::decode(digits).expect("hex"))));
        let known = self.waiting.iter().any(|(known, _)| *known == hash);
        if let Some(call) = call(digits).filter(|_| !known) {
            self.waiting.push((hash.clone(), call));
        }
        hash
    }

    fn receipt(&mut self, hash: &str) -> Value {
        self.mine();
        let Some((_, success, member)) = self.done.iter().find(|(done, ..)| done == hash) else { return Value::Null };
        let event = "0x09f1fd9af917aa77238ff2affbec28a0028188d74c0d4f974364cd383ce7090a";
        let logs = member.and_then(|place| {
            let (commitment, limit) = self.members.get(place)?;
            let data = format!("0x{commitment}{}{}", word(*limit), word(FIRST + place as u64));
            Some(json!({"address": "0xB9cd878C90E49F797B4431fBF4fb333108CB90e6", "topics": [event], "data": data}))
        });
        let logs: Vec<Value> = logs.into_iter().collect();
        json!({"status": format!("{:#x}", u8::from(*success)), "blockNumber": "0x9", "logs": logs})
    }

    fn call(&self, data: &str) -> Result<Value, Value> {
        let place = || self.members.iter().position(|(member, _)| data.get(10..74) == Some(member));
        let words = match data.get(..10).unwrap_or_default() {
            // isInMembershipSet, getMembershipInfo, isInGracePeriod, isExpired, nextFreeIndex
            "0x686bb1cc" => vec![place().is_some().into()],
            "0x3a7592f0" => {
                place().map_or_else(|| vec![0; 3], |place| vec![self.members[place].1, FIRST + place as u64, 1])
            }
            "0x6735e04c" => vec![u64::from(self.in_grace)],
            "0xd9548e53" => vec![0],
            "0xd8826870" => vec![FIRST + self.members.len() as u64],
            // The limits of one, of all, and what is taken.
            "0x8250ff1b" => vec![20],
            "0x2058bfea" => vec![600],
            "0x4ca7987c" => vec![1_000],
            "0x0ebbaa15" => vec![400],
            // priceCalculator, calculate, balanceOf, allowance
            "0x8b95e335" => vec![0xca],
            "0xc96ca02f" => vec![0xc0, DEPOSIT],
            "0x70a08231" => vec![DEPOSIT],
            "0xdd62ed3e" => vec![if self.approved { DEPOSIT } else { 0 }],
            _ => return Err(json!({"code": 3, "message": "execution reverted"})),
        };
        Ok(json!(format!("0x{}", words.into_iter().map(word).collect::<String>())))
    }
}

fn word(number: u64) -> String {
    format!("{number:064x}")
}

/// The call in these digits: approve, extend, or register with its commitment and limit.
fn call(digits: &str) -> Option<Call> {
    if digits.contains("095ea7b3") {
        return Some(Call::Approve);
    }
    if digits.contains("075a94ea") {
        return Some(Call::Extend);
    }
    let (_, words) = digits.split_once("6bfdc994")?;
    let limit = u64::from_str_radix(words.get(112..128)?, 16).ok()?;
    Some(Call::Register { commitment: words.get(..64)?.to_owned(), limit })
}
