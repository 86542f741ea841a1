//! What clients cost that are slow, silent or too many, on real sockets with short limits.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

/// Nothing that is waited for takes this long on any machine.
const DEADLINE: Duration = Duration::from_secs(60);

type TestBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// A server, and who hears of the ends of its answers.
struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    ended: mpsc::UnboundedReceiver<()>,
    /// How many chunks of `/endless` were asked for.
    chunks: Arc<AtomicUsize>,
    server: tokio::task::JoinHandle<()>,
}

fn limits() -> Limits {
    let short = Duration::from_millis(400);
    Limits { header: short, idle: DEADLINE, write: short, header_bytes: 16 << 10, ..Limits::default() }
}

/// A chunk of `/endless`.
const CHUNK: usize = 16 << 10;

/// Serves `/endless`, whose body ends long after everybody is full, `/silent`, whose body never begins, and else `ok`.
fn start(limits: Limits, grace: Duration) -> Running {
    let listener = listen(([127, 0, 0, 1], 0).into(), &limits).expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, ended) = mpsc::unbounded_channel();
    let shutdown = CancellationToken::new();
    let chunks = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&chunks);
    let answer = move |_: Peer, request: Request<Incoming>| {
        let (guard, count) = (Ended(tell.clone()), Arc::clone(&count));
        async move {
            let body: TestBody = match request.uri().path() {
                "/endless" => {
                    let chunks = futures::stream::repeat_with(move || {
                        let _held = &guard;
                        count.fetch_add(1, Relaxed);
                        Ok(Frame::data(Bytes::from_static(&[b'x'; CHUNK])))
                    });
                    StreamBody::new(chunks.take((1 << 30) / CHUNK)).boxed_unsync()
                }
                "/silent" => {
                    let nothing = futures::stream::pending::<Result<Frame<Bytes>, std::io::Error>>();
                    let nothing = nothing.map(move |frame| {
                        let _held = &guard;
                        frame
                    });
                    StreamBody::new(nothing).boxed_unsync()
                }
                _ => Full::new(Bytes::from_static(b"ok")).map_err(|never| match never {}).boxed_unsync(),
            };
            Response::new(body)
        }
    };
    let server = tokio::spawn(serve(listener, None, limits, shutdown.clone(), grace, answer));
    Running { address, shutdown, ended, chunks, server }
}

/// Tells when an answer's body is gone.
struct Ended(mpsc::UnboundedSender<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        _ = self.0.send(());
    }
}

async fn connect(running: &Running) -> TcpStream {
    TcpStream::connect(running.address).await.expect("it listens")
}

/// What comes until the server closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end as well.
    _ = timeout(DEADLINE, stream.read_to_end(&mut text)).await.expect("the connection ends");
    String::from_utf8_lossy(&text).into_owned()
}

async fn get(running: &Running, headers: &str) -> String {
    let mut stream = connect(running).await;
    let request = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("room");
    rest(stream).await
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_their_turn() {
    let patient = Limits { connections: 1, header: DEADLINE, ..limits() };
    let running = start(patient, Duration::ZERO);
    let first = connect(&running).await;
    let mut second = connect(&running).await;
    second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("room");
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(300), second.read(&mut byte)).await.is_err(), "it waits");
    drop(first);
    assert!(rest(second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_header_that_trickles_ends_the_connection() {
    let running = start(limits(), Duration::ZERO);
    // By HTTP/1.1, by HTTP/2, and by somebody who does not even say which.
    for beginning in ["GET / HTTP/1.1\r\nx-long: ", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x40\x01\x04\0\0\0\x01", "P"] {
        let (mut reader, mut writer) = connect(&running).await.into_split();
        let begin = Instant::now();
        writer.write_all(beginning.as_bytes()).await.expect("room");
        let trickle = async {
            while begin.elapsed() < DEADLINE && writer.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let end = async {
            let mut bytes = [0; 1024];
            while reader.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
        };
        tokio::select! {
            () = trickle => {}
            () = end => {}
        }
        assert!(begin.elapsed() < DEADLINE, "{beginning}");
    }
    assert!(get(&running, "").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn headers_have_a_size_and_a_number() {
    let running = start(Limits { header: DEADLINE, ..limits() }, Duration::ZERO);
    let fields = |count: usize| (0..count).map(|number| format!("x-{number}: y\r\n")).collect::<String>();
    assert!(get(&running, &fields(90)).await.starts_with("HTTP/1.1 200"));
    assert!(get(&running, &fields(200)).await.starts_with("HTTP/1.1 431"));
    // What the server does not read any more may reset the connection before its answer is read.
    let answer = get(&running, &format!("x-long: {}\r\n", "y".repeat(17 << 10))).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");

    let stream = TokioIo::new(connect(&running).await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    for (length, status) in [(8 << 10, StatusCode::OK), (17 << 10, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)] {
        let request = Request::get("http://x/").header("x-long", "y".repeat(length)).body(Empty::<Bytes>::new());
        let response = timeout(DEADLINE, sender.send_request(request.expect("a request"))).await.expect("in time");
        assert_eq!(response.expect("an answer").status(), status, "{length} bytes");
    }
}

#[tokio::test]
async fn who_takes_nothing_is_cut_off_on_http_1() {
    let mut running = start(limits(), Duration::ZERO);
    let mut stream = connect(&running).await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("room");
    timeout(DEADLINE, running.ended.recv()).await.expect("the answer is given up");
    let taken = running.chunks.load(Relaxed) * CHUNK;
    assert!(taken < 64 << 20, "{taken} bytes are buffered for somebody who does not read");
}

#[tokio::test]
async fn who_closes_the_window_is_cut_off_on_http_2() {
    let mut running = start(limits(), Duration::ZERO);
    let stream = TokioIo::new(connect(&running).await);
    let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    client.initial_stream_window_size(1024).initial_connection_window_size(1 << 20);
    let (mut sender, connection) = client.handshake(stream).await.expect("HTTP/2");
    // It answers pings as long as it is let.
    let connection = tokio::spawn(connection);
    let get = |path: &str| Request::get(format!("http://x{path}")).body(Empty::<Bytes>::new()).expect("a request");
    // What waits for the component is not the client's fault.
    let silent = sender.send_request(get("/silent")).await.expect("an answer");
    tokio::time::sleep(limits().write * 3).await;
    assert!(!connection.is_finished() && running.ended.try_recv().is_err(), "it is left alone");
    let begin = Instant::now();
    let endless = sender.send_request(get("/endless")).await.expect("an answer");
    for _ in 0..2 {
        timeout(DEADLINE, running.ended.recv()).await.expect("the answers are given up");
    }
    assert!(begin.elapsed() >= limits().write, "{:?}", begin.elapsed());
    timeout(DEADLINE, connection).await.expect("the connection ends").expect("it does not panic").unwrap_err();
    drop((silent, endless));
}

#[tokio::test]
async fn who_takes_a_little_at_a_time_is_not_cut_off() {
    // So long that this client takes something in time on a busy machine too.
    let patience = Duration::from_secs(3);
    let mut running = start(Limits { write: patience, ..limits() }, Duration::ZERO);
    let stream = TokioIo::new(connect(&running).await);
    let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    client.initial_stream_window_size(1024).initial_connection_window_size(1 << 20);
    let (mut sender, connection) = client.handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = Request::get("http://x/endless").body(Empty::<Bytes>::new()).expect("a request");
    let mut body = sender.send_request(request).await.expect("an answer").into_body();
    let begin = Instant::now();
    // Less than one piece of the server's within the limit.
    while begin.elapsed() < patience * 2 {
        timeout(DEADLINE, body.frame()).await.expect("in time").expect("it goes on").expect("it goes on");
        tokio::time::sleep(patience / 10).await;
    }
    assert!(running.ended.try_recv().is_err());
}

#[tokio::test]
async fn what_hangs_at_shutdown_is_cut_off_after_the_grace() {
    let grace = Duration::from_millis(300);
    let running = start(Limits { header: DEADLINE, ..limits() }, grace);
    let mut stream = connect(&running).await;
    stream.write_all(b"GET /silent HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("room");
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).await.expect("an answer begins");
    let begin = Instant::now();
    running.shutdown.cancel();
    timeout(DEADLINE, running.server).await.expect("it ends").expect("it does not panic");
    assert!(begin.elapsed() >= grace);
    assert!(TcpStream::connect(running.address).await.is_err(), "nobody is let in");
}
