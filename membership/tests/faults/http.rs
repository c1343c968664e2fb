//! The same over HTTP: servers that say what they are told to, whatever they are asked.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use membership::{
    contract::Contract,
    provider::{Fault, Http, Provider, Transport as _, Url},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Answers every connection with these bytes, and then with blanks for as long as they are taken if it is to be `endless`. `{ID}`
/// and `{CHAIN}` stand for those of the question.
async fn serves(answer: &'static str, endless: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(serve(connection, answer, endless));
        }
    });
    address
}

async fn serve(mut connection: TcpStream, answer: &str, endless: bool) {
    let mut question = Vec::new();
    while !question.ends_with(b"}") {
        if connection.read_buf(&mut question).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let text = String::from_utf8_lossy(&question);
    let id = text.split_once("\"id\":").unwrap().1.split([',', '}']).next().unwrap();
    let answer = answer.replace("{ID}", id).replace("{CHAIN}", &format!("{:#x}", Contract::TWN.chain));
    let _ = connection.write_all(answer.as_bytes()).await;
    while endless && connection.write_all(format!("400\r\n{}\r\n", " ".repeat(1_024)).as_bytes()).await.is_ok() {}
}

fn url(address: SocketAddr) -> Url {
    format!("http://{address}/v3/key").parse().unwrap()
}

async fn post(address: SocketAddr) -> Result<Bytes, Fault> {
    Http::new().post(&url(address), br#"{"id":7}"#.to_vec()).await
}

/// One answer to everything, closed after it.
macro_rules! said {
    ($status:literal, $head:literal, $body:literal) => {
        concat!("HTTP/1.1 ", $status, "\r\nconnection: close\r\n", $head, "\r\n", $body)
    };
}

const WELL: &str = said!("200 OK", "", r#"{"jsonrpc":"2.0","id":{ID},"result":"{CHAIN}"}"#);

#[tokio::test]
async fn a_question_is_answered_over_http() {
    assert_eq!(post(serves(said!("200 OK", "", "{ID}"), false).await).await, Ok(Bytes::from_static(b"7")));
    let urls = vec![url(serves(WELL, false).await)];
    let provider = Provider::new(Contract::TWN.chain, urls, Http::new()).unwrap();
    assert_eq!(provider.block().await, Ok(Contract::TWN.chain), "that server answers everything so");
}

#[tokio::test]
async fn f18_what_http_does_not_bring_has_a_name() {
    for (answer, fault) in [
        (said!("502 Bad Gateway", "", ""), Fault::Status(502)),
        (said!("301 Moved", "location: http://127.0.0.1:1/\r\n", ""), Fault::Status(301)),
        (said!("200 OK", "content-length: 100\r\n", "{"), Fault::Unreachable),
        (said!("429 Too Many Requests", "", ""), Fault::RateLimited { after: None }),
        (
            said!("429 Too Many Requests", "retry-after: 17\r\n", ""),
            Fault::RateLimited { after: Some(Duration::from_secs(17)) },
        ),
        ("nonsense\r\n\r\n", Fault::Unreachable),
        ("", Fault::Unreachable),
    ] {
        assert_eq!(post(serves(answer, false).await).await, Err(fault), "{answer}");
    }
}

#[tokio::test]
async fn f18_an_answer_without_end_is_cut_off() {
    let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(post(serves(endless, true).await).await, Err(Fault::TooLong));
    let announced = said!("200 OK", "content-length: 1000000000000\r\n", "{");
    assert_eq!(post(serves(announced, true).await).await, Err(Fault::TooLong));
}

#[tokio::test]
async fn f18_one_that_is_not_there_is_passed_over() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(post(nobody).await, Err(Fault::Unreachable));
    let urls = vec![url(nobody), url(serves(WELL, false).await)];
    let provider = Provider::new(Contract::TWN.chain, urls, Http::new()).unwrap();
    assert_eq!(provider.block().await, Ok(Contract::TWN.chain));
}
