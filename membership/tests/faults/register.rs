//! Registration at a chain that answers by script: what is asked, what is handed in, and what is made of refusals.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use membership::{
    Address, U256,
    contract::{Commitment, Contract},
    provider::{Fault, Provider, Revert, Transport, Url},
    register::{self, Account, Place, RECEIPT_EVERY, RECEIPT_WITHIN, RegisterError},
    status::{self, Life},
};
use serde_json::{Value, json};
use waku2::rln::element::Element;

use super::chain::url;

/// Answers to calls by selector and to other questions by method; what is not named is refused.
#[derive(Debug, Clone)]
struct Script {
    answers: Arc<Vec<(&'static str, Value)>>,
    /// Receipts, one after the other, then `null`.
    receipts: Arc<Mutex<VecDeque<Value>>>,
    handed_in: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn new(answers: Vec<(&'static str, Value)>, receipts: Vec<Value>) -> Self {
        let usual = vec![
            ("eth_chainId", json!("0xe705")),
            ("eth_gasPrice", json!("0x3")),
            ("eth_maxPriorityFeePerGas", json!("0x1")),
            ("eth_getTransactionCount", json!("0x0")),
            ("eth_estimateGas", json!("0x64")),
            ("eth_getBalance", json!("0x12c")),
            ("0x686bb1cc", word(0)),
            ("0x8250ff1b", word(20)),
            ("0x2058bfea", word(600)),
            ("0x4ca7987c", word(1_000)),
            ("0x0ebbaa15", word(400)),
            ("0x", word(0)),
        ];
        let answers = Arc::new(answers.into_iter().chain(usual).collect());
        Self { answers, receipts: Arc::new(Mutex::new(receipts.into())), handed_in: Arc::default() }
    }

    fn provider(&self) -> Provider {
        Provider::new(Contract::TWN.chain, vec![url("a")], self.clone()).unwrap()
    }

    fn answer(&self, question: &Value) -> Result<Value, Value> {
        let params = &question["params"];
        let asked = match question["method"].as_str().unwrap() {
            "eth_getTransactionReceipt" => return Ok(self.receipts.lock().unwrap().pop_front().unwrap_or_default()),
            "eth_sendRawTransaction" => {
                self.handed_in.lock().unwrap().push(params[0].as_str().unwrap().to_owned());
                return Ok(word(1));
            }
            "eth_call" => params[0]["data"].as_str().unwrap(),
            method => method,
        };
        let answer = self.answers.iter().find(|(name, _)| asked.starts_with(name)).map(|(_, answer)| answer.clone());
        let answer = answer.ok_or_else(|| json!({"code": -32_601, "message": "method not found"}))?;
        if answer["code"].is_number() { Err(answer) } else { Ok(answer) }
    }
}

impl Transport for Script {
    fn post<'a>(&'a self, _: &'a Url, body: Vec<u8>) -> BoxFuture<'a, Result<Bytes, Fault>> {
        let question: Value = serde_json::from_slice(&body).unwrap();
        let answer = match self.answer(&question) {
            Ok(result) => json!({"id": question["id"], "result": result}),
            Err(error) => json!({"id": question["id"], "error": error}),
        };
        async move { Ok(answer.to_string().into()) }.boxed()
    }
}

fn word(number: u64) -> Value {
    words(&[number])
}

fn words(numbers: &[u64]) -> Value {
    json!(format!("0x{}", numbers.iter().map(|number| format!("{number:064x}")).collect::<String>()))
}

fn receipt(success: bool, events: &[&[u64]]) -> Value {
    let event = "0x09f1fd9af917aa77238ff2affbec28a0028188d74c0d4f974364cd383ce7090a";
    let log = |numbers: &&[u64]| json!({"address": Contract::TWN.address.to_string(), "topics": [event], "data": words(numbers)});
    let logs: Vec<Value> = events.iter().map(log).collect();
    json!({"status": format!("{:#x}", u8::from(success)), "blockNumber": "0x9", "logs": logs})
}

/// The contract of the text, with its limit of 100 messages and nobody in it.
#[tokio::test(start_paused = true)]
async fn net_16_the_contract_of_the_text_takes_gas_alone_and_a_hundred_messages_at_most() {
    // Selectors: memberExists(uint256), MAX_MESSAGE_LIMIT().
    let answers = || vec![("eth_chainId", json!("0xaa36a7")), ("0x6bdcc8ab", word(0)), ("0x09aeb04c", word(100))];
    let event = "0xb84da12e8207adb5ee3e5686338302ffe6634fbb95a9fd52f8a466ea2010152d";
    let log = json!({"address": Contract::TWN_SPEC.address.to_string(), "topics": [event], "data": words(&[99, 6])});
    let registered = json!({"status": "0x1", "blockNumber": "0x9", "logs": [log]});
    let script = Script::new(answers(), vec![registered]);
    let provider = Provider::new(Contract::TWN_SPEC.chain, vec![url("a")], script.clone()).unwrap();
    let cost = |limit| register::cost(&provider, &Contract::TWN_SPEC, Address::ZERO, me(), limit);
    assert_eq!(cost(100).await.unwrap().deposit, None);
    for limit in [0, 101] {
        assert_eq!(cost(limit).await.unwrap_err(), RegisterError::Limit { limit, lowest: 1, highest: 100 });
    }
    let registered = register::register(&provider, &Contract::TWN_SPEC, &account(), me(), 100).await.unwrap();
    assert_eq!((registered.index, registered.limit), (6, 100));
    let handed_in = script.handed_in.lock().unwrap().clone();
    assert!(handed_in.len() == 1 && handed_in[0].contains("af7b4210"), "nothing is approved before");
}

/// Of the deposit: a calculator, a price of 10 of the token 0x..c0, what the account has, and what is approved.
fn deposit(has: u64, approved: u64) -> Vec<(&'static str, Value)> {
    // Selectors: priceCalculator(), calculate(uint32), balanceOf(address), allowance(address,address).
    vec![
        ("0x8b95e335", word(0xca)),
        ("0xc96ca02f", words(&[0xc0, 10])),
        ("0x70a08231", word(has)),
        ("0xdd62ed3e", word(approved)),
    ]
}

fn me() -> Commitment {
    Commitment::new(Element::from(7)).unwrap()
}

fn account() -> Account {
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80".parse().unwrap()
}

async fn registers(script: &Script, limit: u32) -> Result<u32, RegisterError> {
    let registered = register::register(&script.provider(), &Contract::TWN, &account(), me(), limit).await?;
    assert_eq!((registered.limit, registered.block), (limit, 9));
    Ok(registered.index)
}

#[tokio::test(start_paused = true)]
async fn a_registration_waits_for_its_block_and_takes_its_index() {
    let script = Script::new(Vec::new(), vec![Value::Null, Value::Null, receipt(true, &[&[8, 20, 1], &[7, 20, 4]])]);
    assert_eq!(registers(&script, 20).await, Ok(4));
    let handed_in = script.handed_in.lock().unwrap().clone();
    assert_eq!(handed_in.len(), 1);
    assert!(handed_in[0].starts_with("0x02") && handed_in[0].contains("6bfdc994"));
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_found_before_anything_is_paid() {
    let limits = |limit| RegisterError::Limit { limit, lowest: 20, highest: 600 };
    let plain = Script::new(Vec::new(), Vec::new());
    assert_eq!(registers(&plain, 19).await, Err(limits(19)));
    assert_eq!(registers(&plain, 601).await, Err(limits(601)));
    let full = Script::new(vec![("0x0ebbaa15", word(990))], Vec::new());
    assert_eq!(registers(&full, 20).await, Err(RegisterError::GroupFull { left: 10 }));
    let member = Script::new(vec![("0x686bb1cc", word(1)), ("0x3a7592f0", words(&[20, 5, 1]))], Vec::new());
    assert_eq!(registers(&member, 20).await, Err(RegisterError::AlreadyRegistered { index: Some(5) }));
    let poor = Script::new(vec![("eth_getBalance", json!("0x12b"))], Vec::new());
    let (has, needs) = (U256::from(299), U256::from(300));
    assert_eq!(registers(&poor, 20).await, Err(RegisterError::NotEnoughEther { has, needs }));
    for script in [plain, full, member, poor] {
        assert!(script.handed_in.lock().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_deposit_is_counted_and_approved_when_it_is_not() {
    let cost = |script: Script| async move {
        register::cost(&script.provider(), &Contract::TWN, Address::ZERO, me(), 20).await.unwrap()
    };
    let rich = ("eth_getBalance", json!("0xffffffffffff"));
    let poor = cost(Script::new([deposit(9, 10), vec![rich.clone()]].concat(), Vec::new())).await;
    let token = poor.deposit.unwrap().token;
    let missing = RegisterError::NotEnoughToken { token, has: U256::from(9), needs: U256::from(10) };
    assert_eq!(poor.can_be_paid(), Err(missing));
    let approved = cost(Script::new([deposit(10, 10), vec![rich.clone()]].concat(), Vec::new())).await;
    assert_eq!((approved.gas, approved.fee()), (100, U256::from(300)));
    assert!(!approved.deposit.unwrap().needs_approval());
    let receipts = vec![receipt(true, &[]), receipt(true, &[&[7, 20, 4]])];
    let script = Script::new([deposit(10, 9), vec![rich]].concat(), receipts);
    assert_eq!(registers(&script, 20).await, Ok(4));
    let handed_in = script.handed_in.lock().unwrap().clone();
    assert!(handed_in[0].contains("095ea7b3") && handed_in[1].contains("6bfdc994"), "approve, then register");
}

#[tokio::test(start_paused = true)]
async fn a_contract_that_refuses_says_why_and_nothing_is_handed_in() {
    let said = json!({"code": 3, "message": "execution reverted: total limit", "data": null});
    let script = Script::new(vec![("eth_estimateGas", said)], Vec::new());
    assert_eq!(registers(&script, 20).await, Err(RegisterError::Reverted(Revert::Reason("total limit".into()))));
    assert!(script.handed_in.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "simulated time")]
async fn a_transaction_that_does_nothing_or_comes_into_no_block_is_told_apart() {
    let failed = Script::new(Vec::new(), vec![receipt(false, &[])]);
    assert!(matches!(registers(&failed, 20).await, Err(RegisterError::Failed(_))));
    let silent = Script::new(Vec::new(), vec![receipt(true, &[&[8, 20, 1]])]);
    assert!(matches!(registers(&silent, 20).await, Err(RegisterError::NoEvent(_))));
    let began = tokio::time::Instant::now();
    let lost = Script::new(Vec::new(), Vec::new());
    assert!(matches!(registers(&lost, 20).await, Err(RegisterError::Unconfirmed(_))));
    assert!(began.elapsed() >= RECEIPT_WITHIN && began.elapsed() <= RECEIPT_WITHIN + RECEIPT_EVERY);
}

#[tokio::test(start_paused = true)]
async fn a_membership_has_a_life() {
    let info = ("0x3a7592f0", words(&[20, 5, 1]));
    for (member, grace, expired, life) in
        [(0, 0, 0, Life::Absent), (1, 0, 0, Life::Active), (1, 1, 0, Life::Grace), (1, 0, 1, Life::Expired)]
    {
        let answers = vec![
            ("0x686bb1cc", word(member)),
            ("0x6735e04c", word(grace)),
            ("0xd9548e53", word(expired)),
            info.clone(),
        ];
        let status = status::status(&Script::new(answers, Vec::new()).provider(), &Contract::TWN, me()).await.unwrap();
        let there = life != Life::Absent;
        assert_eq!((status.life, status.index, status.limit), (life, there.then_some(5), there.then_some(20)));
    }
    let script = Script::new(vec![("0xd8826870", word(12))], Vec::new());
    assert_eq!(status::members(&script.provider(), &Contract::TWN).await, Ok(12));
}

#[tokio::test(start_paused = true)]
async fn a_member_of_which_nobody_heard_is_found() {
    let place = |script: &Script, contract: Contract| {
        let provider = Provider::new(contract.chain, vec![url("a")], script.clone()).unwrap();
        async move { register::place(&provider, &contract, me(), &Element::from(70)).await }
    };
    let nobody = Script::new(Vec::new(), Vec::new());
    assert_eq!(place(&nobody, Contract::TWN).await, Ok(None));
    let member = Script::new(vec![("0x686bb1cc", word(1)), ("0x3a7592f0", words(&[20, 5, 1]))], Vec::new());
    assert_eq!(place(&member, Contract::TWN).await, Ok(Some(Place { index: 5, limit: Some(20) })));
    // Of the earlier contract: memberExists(uint256), commitmentIndex(), getCommitments(uint32,uint32) of two pages.
    let last = format!("0x679537f9{:064x}{:064x}", 476, 1_499);
    let first = format!("0x679537f9{:064x}{:064x}", 0, 475);
    let leaves = |which: &str, leaf: u64| {
        let (last, first): (&'static str, &'static str) = (last.clone().leak(), first.clone().leak());
        let page = |asked: &str| words(&[32, 3, 0, if asked == which { leaf } else { 0 }, 0]);
        let sepolia = ("eth_chainId", json!("0xaa36a7"));
        let answers = vec![
            sepolia,
            ("0x6bdcc8ab", word(1)),
            ("0x037a791a", word(1_500)),
            (last, page("last")),
            (first, page("first")),
        ];
        Script::new(answers, Vec::new())
    };
    for (which, index) in [("last", 477), ("first", 1)] {
        let found = place(&leaves(which, 70), Contract::TWN_SPEC).await;
        assert_eq!(found, Ok(Some(Place { index, limit: None })), "{which}");
    }
    assert_eq!(place(&leaves("last", 71), Contract::TWN_SPEC).await, Err(RegisterError::NoIndex));
}

#[tokio::test(start_paused = true)]
async fn what_an_account_has_sent_is_waited_for_and_not_for_ever() {
    #[derive(Debug, Clone)]
    struct Sent(Arc<Mutex<u64>>);

    impl Transport for Sent {
        /// One transaction waits for so many answers.
        fn post<'a>(&'a self, _: &'a Url, body: Vec<u8>) -> BoxFuture<'a, Result<Bytes, Fault>> {
            let question: Value = serde_json::from_slice(&body).unwrap();
            let mut left = self.0.lock().unwrap();
            let result = match (question["method"].as_str().unwrap(), question["params"][1].as_str()) {
                ("eth_chainId", _) => "0xe705",
                (_, Some("latest")) if *left > 0 => {
                    *left -= 1;
                    "0x6"
                }
                _ => "0x7",
            };
            let answer = json!({"id": question["id"], "result": result}).to_string();
            async move { Ok(answer.into()) }.boxed()
        }
    }
    let settled = |answers| async move {
        let provider = Provider::new(Contract::TWN.chain, vec![url("a")], Sent(Arc::new(Mutex::new(answers)))).unwrap();
        register::settled(&provider, Address::ZERO).await
    };
    assert_eq!(settled(0).await, Ok(()));
    assert_eq!(settled(9).await, Ok(()));
    assert_eq!(settled(u64::MAX).await, Err(RegisterError::Waiting { account: Address::ZERO }));
}
