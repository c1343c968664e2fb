//! The listener: connections, and what is read of a request before anything looks at it.
//!
//! Limits: [`MAX_HEAD_BYTES`] of a request line and its headers. How long they may take is not limited, as in nwaku.

use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::{TcpListener, TcpStream};

/// Longest request line with its headers, in bytes; beyond it the answer is 431.  Deployed: nwaku, of headers.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Serves until it is dropped; connections that are there end by themselves.
pub(super) async fn serve(mut listener: TcpListener, router: Router) {
    loop {
        // Waits a second where nothing can be accepted, as without free descriptors.
        let (stream, _) = Listener::accept(&mut listener).await;
        tokio::spawn(one(stream, router.clone()));
    }
}

async fn one(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(router);
    let connection =
        http1::Builder::new().max_header_size(MAX_HEAD_BYTES).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an HTTP connection has ended");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        task::JoinHandle,
    };

    use super::*;

    async fn listening() -> (std::net::SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "here").post(async |body: String| body.len().to_string()));
        (at, tokio::spawn(serve(listener, router)))
    }

    /// The first line of the answer to these bytes.
    async fn answered(at: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(at).await.unwrap();
        // It may be answered before all of it is read.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
    }

    fn with_headers(bytes: usize) -> String {
        format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: {}\r\n\r\n", "y".repeat(bytes))
    }

    #[tokio::test]
    async fn h84_headers_have_a_bound_and_a_status() {
        let (at, task) = listening().await;
        assert_eq!(answered(at, &with_headers(60_000)).await, "HTTP/1.1 200 OK");
        assert_eq!(answered(at, &with_headers(MAX_HEAD_BYTES)).await, "HTTP/1.1 431 Request Header Fields Too Large");
        let many = "X: y\r\n".repeat(1_000);
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{many}\r\n");
        assert_eq!(answered(at, &many).await, "HTTP/1.1 431 Request Header Fields Too Large");
        task.abort();
    }

    #[tokio::test]
    async fn bodies_may_be_longer_than_headers() {
        let (at, task) = listening().await;
        let body = "z".repeat(1_000_000);
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        assert_eq!(answered(at, &format!("{head}{body}")).await, "HTTP/1.1 200 OK");
        task.abort();
    }

    /// Of lengths that contradict each other nothing is read as a second request.
    #[tokio::test]
    async fn h84_no_request_is_smuggled_behind_another() {
        let (at, task) = listening().await;
        for lengths in [
            "Content-Length: 4\r\nContent-Length: 40\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked, gzip\r\n",
            "Content-Length: +4\r\n",
        ] {
            let smuggled = format!("POST / HTTP/1.1\r\nHost: x\r\n{lengths}\r\nabcdGET / HTTP/1.1\r\nHost: x\r\n\r\n");
            let mut stream = TcpStream::connect(at).await.unwrap();
            stream.write_all(smuggled.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with("HTTP/1.1 400 "), "{lengths:?}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{lengths:?}: {answer}");
        }
        task.abort();
    }
}
