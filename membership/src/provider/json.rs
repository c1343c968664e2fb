//! JSON-RPC 2.0 as providers of Ethereum's chains speak it: bytes only.
//!
//! One question a request, so that an answer that is not to it is garbage. Numbers are hex with `0x`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::{Fault, Revert, words};

/// Errors by which providers ask for patience.
const RATE_LIMITED: [i64; 2] = [-32_005, 429];

/// Error with which nodes tell that the contract reverted; older ones use another and say so in words.
const REVERTED: i64 = 3;

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    id: Value,
    result: Option<Value>,
    error: Option<Error>,
}

#[derive(Deserialize)]
struct Error {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

/// The bytes of a question.
pub(crate) fn request(id: u64, method: &str, params: &Value) -> Vec<u8> {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string().into_bytes()
}

/// Reads the answer to question `id`. A receipt that is not there yet is `null`, so that too is an answer.
pub(crate) fn response(id: u64, bytes: &[u8]) -> Result<Value, Fault> {
    let response: Response = serde_json::from_slice(bytes).map_err(|_| Fault::Garbage)?;
    match response.error {
        // Who cannot read a question, or does not want to, does not know its id either.
        Some(error) => Err(error.fault()),
        None if response.id == id => Ok(response.result.unwrap_or_default()),
        None => Err(Fault::Garbage),
    }
}

impl Error {
    fn fault(self) -> Fault {
        if RATE_LIMITED.contains(&self.code) {
            Fault::RateLimited { after: None }
        } else if self.code == REVERTED || self.message.contains("execution reverted") {
            Fault::Reverted(self.revert())
        } else {
            Fault::Refused { code: self.code, words: words(&self.message) }
        }
    }

    /// The data if there is some; of a node that sends none, its words.
    fn revert(&self) -> Revert {
        match self.data.as_str().and_then(|text| hex::decode(text.strip_prefix("0x")?).ok()) {
            Some(data) => Revert::of(&data),
            None => match self.message.split_once("execution reverted: ") {
                Some((_, reason)) => Revert::Reason(words(reason)),
                None => Revert::Silent,
            },
        }
    }
}

/// A number as JSON-RPC writes it.
pub(crate) fn hex_number(number: u64) -> String {
    format!("{number:#x}")
}

/// Bytes as JSON-RPC writes them.
pub(crate) fn hex_bytes(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// A number out of an answer.
pub(crate) fn number(value: &Value) -> Result<u64, Fault> {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x")).ok_or(Fault::Garbage)?;
    u64::from_str_radix(digits, 16).map_err(|_| Fault::Garbage)
}

/// Bytes out of an answer.
pub(crate) fn bytes(value: &Value) -> Result<Vec<u8>, Fault> {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x")).ok_or(Fault::Garbage)?;
    hex::decode(digits).map_err(|_| Fault::Garbage)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Value, Fault> {
        response(7, text.as_bytes())
    }

    #[test]
    fn a_question_and_its_answer() {
        let question: Value = serde_json::from_slice(&request(7, "eth_chainId", &json!([]))).unwrap();
        assert_eq!(question, json!({"jsonrpc": "2.0", "id": 7, "method": "eth_chainId", "params": []}));
        assert_eq!(number(&read(r#"{"jsonrpc":"2.0","id":7,"result":"0xe705"}"#).unwrap()), Ok(59_141));
        assert_eq!(read(r#"{"jsonrpc":"2.0","id":7,"result":null}"#), Ok(Value::Null));
        assert_eq!(bytes(&json!("0x0102")), Ok(vec![1, 2]));
        assert_eq!((hex_number(16), hex_bytes(&[1, 2])), ("0x10".into(), "0x0102".into()));
    }

    #[test]
    fn f18_garbage_is_called_so() {
        let none =
            ["", "<html>", "[]", "7", r#"{"id":8,"result":"0x1"}"#, r#"{"id":"7","result":"0x1"}"#, r#"{"error":5}"#];
        for text in none {
            assert_eq!(read(text), Err(Fault::Garbage), "{text}");
        }
        assert_eq!(read(&"[".repeat(100_000)), Err(Fault::Garbage), "nested");
        for value in [json!(1), json!("1"), json!("0x"), json!("0xzz"), json!("0x11112222333344445"), Value::Null] {
            assert_eq!(number(&value), Err(Fault::Garbage), "{value}");
        }
        assert_eq!(bytes(&json!("0x123")), Err(Fault::Garbage));
    }

    #[test]
    fn errors_are_told_apart() {
        let limited = Err(Fault::RateLimited { after: None });
        assert_eq!(read(r#"{"id":7,"error":{"code":-32005,"message":"limit exceeded"}}"#), limited);
        assert_eq!(read(r#"{"id":null,"error":{"code":429,"message":""}}"#), limited);
        let reverted = |revert| Err(Fault::Reverted(revert));
        assert_eq!(
            read(r#"{"id":7,"error":{"code":3,"message":"execution reverted","data":"0x01020304"}}"#),
            reverted(Revert::Custom([1, 2, 3, 4]))
        );
        assert_eq!(
            read(r#"{"id":7,"error":{"code":-32000,"message":"execution reverted: registered"}}"#),
            reverted(Revert::Reason("registered".into()))
        );
        assert_eq!(
            read(r#"{"id":7,"error":{"code":-32000,"message":"header not found"}}"#),
            Err(Fault::Refused { code: -32_000, words: "header not found".into() })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = response(7, &bytes);
        }
    }
}
