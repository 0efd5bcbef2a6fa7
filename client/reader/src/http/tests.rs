use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What the server does with each connection, once it has read the request.
type Act = fn(String) -> Vec<Step>;

enum Step {
    Say(Vec<u8>),
    Repeat(Vec<u8>, Duration),
    Times(usize, Vec<u8>, Duration),
    Hold,
}

fn say(text: &str) -> Step {
    Step::Say(text.as_bytes().to_vec())
}

async fn serve(act: Act) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let log = Arc::clone(&log);
            tokio::spawn(async move { answer(stream, act, &log).await });
        }
    });
    (address, seen)
}

async fn answer(mut stream: TcpStream, act: Act, log: &std::sync::Mutex<Vec<String>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4_096];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => request.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    log.lock().unwrap().push(request.clone());
    for step in act(request) {
        match step {
            Step::Say(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Step::Repeat(bytes, pause) => loop {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            },
            Step::Times(times, bytes, pause) => {
                for _ in 0..times {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                }
            }
            Step::Hold => tokio::time::sleep(Duration::from_secs(60)).await,
        }
    }
}

fn quick() -> HttpOptions {
    HttpOptions {
        connect: Duration::from_secs(2),
        idle: Duration::from_millis(400),
        whole: Duration::from_secs(5),
        grace: Duration::from_millis(1_000),
        ..HttpOptions::default()
    }
}

async fn get(act: Act, limit: u64) -> Result<Bytes, FetchError> {
    let (address, _) = serve(act).await;
    HttpTransport::new(&address, quick()).unwrap().fetch("timestamp.json", limit).await
}

#[tokio::test]
async fn an_endless_body_ends_at_the_limit() {
    let endless: Act = |_| vec![say("HTTP/1.1 200 OK\r\n\r\n"), Step::Repeat(vec![b'a'; 16_384], Duration::ZERO)];
    assert_eq!(get(endless, 100_000).await, Err(FetchError::TooLarge { limit: 100_000 }));
}

#[tokio::test]
async fn an_endless_chunked_body_ends_at_the_limit() {
    let endless: Act = |_| {
        let mut chunk = b"4000\r\n".to_vec();
        chunk.extend(vec![b'a'; 0x4000]);
        chunk.extend(b"\r\n");
        vec![say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Step::Repeat(chunk, Duration::ZERO)]
    };
    assert_eq!(get(endless, 100_000).await, Err(FetchError::TooLarge { limit: 100_000 }));
}

#[tokio::test]
async fn a_stated_length_over_the_limit_fails_before_the_body() {
    let large: Act = |_| vec![say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"), Step::Hold];
    let began = Instant::now();
    assert_eq!(get(large, 10).await, Err(FetchError::TooLarge { limit: 10 }));
    assert!(began.elapsed() < Duration::from_millis(300));
}

#[tokio::test]
async fn exactly_the_limit_is_read_and_one_byte_more_is_not() {
    let ten: Act = |_| vec![say("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789")];
    assert_eq!(get(ten, 10).await.unwrap(), "0123456789");
    assert_eq!(get(ten, 9).await, Err(FetchError::TooLarge { limit: 9 }));
}

#[tokio::test]
async fn a_length_that_lies_gives_an_error_and_never_a_short_file() {
    let cut: Act = |_| vec![say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nshort")];
    assert_eq!(get(cut, 1_000).await, Err(FetchError::Truncated));
    let cut_chunk: Act = |_| vec![say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nshort")];
    assert_eq!(get(cut_chunk, 1_000).await, Err(FetchError::Truncated));
    let longer: Act = |_| vec![say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nlonger")];
    assert_eq!(get(longer, 1_000).await.unwrap(), "lo");
}

#[tokio::test]
async fn a_body_that_drips_ends_in_time() {
    let drip: Act = |_| vec![say("HTTP/1.1 200 OK\r\n\r\n"), Step::Repeat(b"a".to_vec(), Duration::from_millis(100))];
    let began = Instant::now();
    assert_eq!(get(drip, 1_000_000).await, Err(FetchError::Timeout(TimeLimit::Rate(limits::LEAST_RATE))));
    assert!(began.elapsed() < Duration::from_secs(3), "the least rate ends it, long before the limit of the whole");
}

#[tokio::test]
async fn a_server_that_is_silent_ends_in_time() {
    let silent: Act = |_| vec![Step::Hold];
    assert_eq!(get(silent, 10).await, Err(FetchError::Timeout(TimeLimit::Idle(quick().idle))));
    let half: Act = |_| vec![say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123"), Step::Hold];
    assert_eq!(get(half, 10).await, Err(FetchError::Timeout(TimeLimit::Idle(quick().idle))));
}

#[tokio::test]
async fn a_compressed_answer_is_refused_and_none_is_asked_for() {
    let gzip: Act = |_| vec![say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\u{1f}x")];
    let (address, seen) = serve(gzip).await;
    let transport = HttpTransport::new(&address, quick()).unwrap();
    assert_eq!(transport.fetch("timestamp.json", 100).await, Err(FetchError::Encoding));
    let request = seen.lock().unwrap()[0].to_lowercase();
    assert!(!request.contains("accept-encoding"), "{request}");
    assert!(request.contains("user-agent: trust/"), "{request}");
}

#[tokio::test]
async fn only_404_is_not_found() {
    let by_path: Act = |request| {
        let status = request.split_whitespace().nth(1).unwrap().trim_start_matches('/').to_owned();
        vec![say(&format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nRetry-After: 7\r\n\r\n"))]
    };
    let (address, _) = serve(by_path).await;
    let transport = HttpTransport::new(&address, quick()).unwrap();
    let retry_after = Some(Duration::from_secs(7));
    for (status, error) in [
        (404, FetchError::NotFound),
        (401, FetchError::Unauthorized),
        (403, FetchError::Forbidden),
        (429, FetchError::RateLimited { retry_after }),
        (400, FetchError::Status(400)),
        (410, FetchError::Status(410)),
        (500, FetchError::Status(500)),
        (503, FetchError::Status(503)),
        (204, FetchError::Status(204)),
        (206, FetchError::Status(206)),
        (304, FetchError::Redirect),
    ] {
        assert_eq!(transport.fetch(&status.to_string(), 100).await, Err(error), "{status}");
    }
}

#[tokio::test]
async fn redirects_stay_on_their_host_and_end() {
    let to_other: Act = |_| vec![say("HTTP/1.1 302 X\r\nLocation: http://localhost:1/x\r\nContent-Length: 0\r\n\r\n")];
    assert_eq!(get(to_other, 10).await, Err(FetchError::Redirect));
    let to_file: Act = |_| vec![say("HTTP/1.1 302 X\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n")];
    assert_eq!(get(to_file, 10).await, Err(FetchError::Redirect));
    let nowhere: Act = |_| vec![say("HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n")];
    assert_eq!(get(nowhere, 10).await, Err(FetchError::Redirect));
    let round: Act = |_| vec![say("HTTP/1.1 302 X\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")];
    assert_eq!(get(round, 10).await, Err(FetchError::Redirects { limit: limits::REDIRECTS }));
}

#[tokio::test]
async fn a_token_never_follows_a_redirect_and_is_never_shown() {
    let once: Act = |request| match request.starts_with("GET /there") {
        true => vec![say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")],
        false => vec![say("HTTP/1.1 307 X\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n")],
    };
    let (address, seen) = serve(once).await;
    let options = HttpOptions { token: Token::new("s3cret\n"), ..quick() };
    assert!(!format!("{options:?}").contains("s3cret"));
    let transport = HttpTransport::new(&address, options).unwrap();
    assert!(!format!("{transport:?}").contains("s3cret"));
    assert_eq!(transport.fetch("here", 10).await.unwrap(), "ok");
    let seen = seen.lock().unwrap();
    assert!(seen[0].contains("Bearer s3cret") && !seen[1].contains("s3cret"));
}

#[test]
fn a_redirect_never_leads_from_tls_to_plain_http() {
    let from = |from: &str, to: &str| {
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(to).unwrap())]);
        redirected(&Url::parse(from).unwrap(), &headers).map(|u| u.to_string())
    };
    assert_eq!(from("https://a/x", "http://a/y"), Err(FetchError::Redirect));
    assert_eq!(from("https://a/x", "https://b/y"), Err(FetchError::Redirect));
    assert_eq!(from("https://a/x", "//b/y"), Err(FetchError::Redirect));
    assert_eq!(from("https://a/x", "https://a:444/y"), Err(FetchError::Redirect));
    assert_eq!(from("http://a/x", "https://a/y").unwrap(), "https://a/y");
    assert_eq!(from("https://a/x/", "../y").unwrap(), "https://a/y");
}

#[test]
fn plain_http_goes_to_this_machine_alone() {
    let new = |address: &str| HttpTransport::new(address, HttpOptions::default()).map(drop);
    for address in ["http://example.com", "http://127.0.0.1.example.com", "http://10.0.0.1:80", "http://0.0.0.0"] {
        assert_eq!(new(address), Err(FetchError::InsecureRefused), "{address}");
    }
    for address in ["http://127.0.0.1:1", "http://localhost:1/base", "http://[::1]:1"] {
        assert_eq!(new(address), Ok(()), "{address}");
    }
    for address in ["", "example.com", "ftp://example.com", "https://user:pw@example.com", "https://example.com/?a=b"] {
        let error = new(address).unwrap_err();
        assert!(matches!(error, FetchError::Setup(_)), "{address}");
        assert!(!error.to_string().contains("pw"), "{error}");
    }
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let transport = HttpTransport::new(&address, quick()).unwrap();
    assert!(matches!(transport.fetch("x", 10).await, Err(FetchError::Unreachable(_))));
    let reset: Act = |_| vec![];
    assert!(matches!(get(reset, 10).await, Err(FetchError::Unreachable(_) | FetchError::Truncated)));
}

#[tokio::test]
async fn encoded_role_names_and_brackets_stay_as_they_are() {
    let ok: Act = |_| vec![say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")];
    let (address, seen) = serve(ok).await;
    let transport = HttpTransport::new(&format!("{address}/test%5B1%5D/"), quick()).unwrap();
    for file in ["1.%3F.json", "1.%23.json", "1...%2Fx.json", "1...json", "tuf/[::1]:5000/a/_metadata/timestamp.json"] {
        transport.fetch(file, 10).await.unwrap();
        let line = seen.lock().unwrap().pop().unwrap();
        assert!(line.starts_with(&format!("GET /test%5B1%5D/{file} HTTP/1.1\r\n")), "{line}");
    }
}

#[tokio::test]
async fn the_time_that_the_last_answer_said_is_known_whatever_its_status_and_caches_count_with_their_age() {
    let act: Act = |request| {
        let header = match request.split(' ').nth(1).unwrap_or_default() {
            "/date" => "Date: Sun, 01 Jun 2031 00:00:00 GMT\r\n",
            "/cached" => "Date: Sun, 01 Jun 2031 00:00:00 GMT\r\nAge: 3600\r\n",
            "/nonsense" => "Date: tomorrow\r\nAge: -1\r\n",
            "/far" => "Date: Fri, 31 Dec 9999 23:59:59 GMT\r\nAge: 4294967295\r\n",
            _ => "",
        };
        vec![say(&format!("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n{header}\r\n"))]
    };
    let (address, _) = serve(act).await;
    let transport = HttpTransport::new(&address, quick()).unwrap();
    assert_eq!(transport.server_time(), None);
    for (path, said) in [
        ("date", Some("2031-06-01T00:00:00Z")),
        ("cached", Some("2031-06-01T01:00:00Z")),
        ("nonsense", None),
        ("date", Some("2031-06-01T00:00:00Z")),
        ("far", None),
        ("none", None),
    ] {
        assert_eq!(transport.fetch(path, 10).await, Err(FetchError::NotFound));
        assert_eq!(transport.server_time(), said.map(|text| UtcTime::parse(text).unwrap()), "{path}");
    }
}

#[tokio::test]
async fn a_body_in_pieces_has_the_limits_of_a_whole_one_and_is_not_ended_by_the_time_of_the_whole() {
    async fn read(act: Act, limit: u64, options: HttpOptions) -> Result<usize, FetchError> {
        let (address, _) = serve(act).await;
        let mut body = HttpTransport::new(&address, options).unwrap().open("x", limit).await?;
        let mut len = 0;
        while let Some(piece) = body.next().await? {
            len += piece.len();
        }
        Ok(len)
    }
    let endless: Act = |_| vec![say("HTTP/1.1 200 OK\r\n\r\n"), Step::Repeat(vec![b'a'; 16_384], Duration::ZERO)];
    assert_eq!(read(endless, 100_000, quick()).await, Err(FetchError::TooLarge { limit: 100_000 }));
    let cut: Act = |_| vec![say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nshort")];
    assert_eq!(read(cut, 1_000, quick()).await, Err(FetchError::Truncated));
    let drip: Act = |_| vec![say("HTTP/1.1 200 OK\r\n\r\n"), Step::Repeat(b"a".to_vec(), Duration::from_millis(50))];
    assert!(matches!(read(drip, 1_000_000, quick()).await, Err(FetchError::Timeout(_))));
    let none: Act = |_| vec![say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")];
    assert_eq!(read(none, 1_000, quick()).await, Err(FetchError::NotFound));
    // Ten pieces, a second in all: long after the time that a whole file may take.
    let steady: Act = |_| {
        let mut chunk = b"4000\r\n".to_vec();
        chunk.extend(vec![b'a'; 0x4000]);
        chunk.extend(b"\r\n");
        vec![
            say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Step::Times(10, chunk, Duration::from_millis(100)),
            say("0\r\n\r\n"),
        ]
    };
    let short = HttpOptions { whole: Duration::from_millis(300), ..quick() };
    assert_eq!(read(steady, 1_000_000, short.clone()).await, Ok(10 * 0x4000));
    let (address, _) = serve(steady).await;
    let whole = HttpTransport::new(&address, short).unwrap().fetch("x", 1_000_000).await;
    assert!(matches!(whole, Err(FetchError::Timeout(_))));
}
