use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::http::Token;

async fn client(status: u16, body: &'static str) -> (ApiClient, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 8_192];
        let n = stream.read(&mut request).await.unwrap();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nRetry-After: 3\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..n]).into_owned()
    });
    let options = HttpOptions { token: Token::new("s3cret"), whole: Duration::from_secs(5), ..HttpOptions::default() };
    (ApiClient::new(&address, options).unwrap(), served)
}

fn collection() -> CollectionName {
    CollectionName::parse("127.0.0.1:5000/pay").unwrap()
}

fn publication() -> PublicationRequest {
    PublicationRequest {
        idempotency_key: "0123456789abcdef".to_owned(),
        expected: Versions::default(),
        roots: Vec::new(),
        roles: Default::default(),
        blobs: Vec::new(),
        grant: None,
    }
}

#[tokio::test]
async fn each_refusal_has_its_exit_code_and_id() {
    for (status, body, id, exit) in [
        (401, r#"{"error":{"code":"unauthorized","message":"no"}}"#, "E3101", 31),
        (403, r#"{"error":{"code":"forbidden","message":"no"}}"#, "E3102", 31),
        (404, "", "E3604", 10),
        (409, r#"{"error":{"code":"conflict","message":"no","current":{"root":3,"roles":{"alice":8}}}}"#, "E3201", 32),
        (413, "", "E3603", 2),
        (422, r#"{"error":{"code":"refused","message":"no","rule":"Life"}}"#, "E3601", 12),
        (422, r#"{"error":{"code":"signer_refused","message":"no","rule":"S4"}}"#, "E3602", 12),
        (429, "", "E3301", 33),
        (500, "<html>", "E3401", 34),
        (503, r#"{"error":{"code":"signer_unavailable","message":"no"}}"#, "E3402", 34),
        (503, r#"{"error":{"code":"conflict","message":"a word that is not this status'"}}"#, "E3401", 34),
        (302, "", "E3405", 34),
        (200, "{}", "E3405", 34),
        (200, "not JSON", "E3405", 34),
    ] {
        let (client, served) = client(status, body).await;
        let problem = client.publish(&collection(), &publication()).await.unwrap_err();
        assert_eq!((problem.id(), problem.exit()), (id, exit), "{status} {body}");
        assert!(!problem.text().contains("s3cret") && !format!("{problem:?}").contains("s3cret"));
        let request = served.await.unwrap();
        assert!(request.starts_with("POST /v1/127.0.0.1:5000/pay/_publications HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: Bearer s3cret\r\n"), "{request}");
    }
}

#[tokio::test]
async fn a_conflict_shows_the_current_versions_and_a_rule_its_name() {
    let body = r#"{"error":{"code":"conflict","message":"no","current":{"root":3,"roles":{"alice":8}}}}"#;
    let problem = client(409, body).await.0.publish(&collection(), &publication()).await.unwrap_err();
    assert!(problem.text().contains("root v3, alice v8"), "{}", problem.text());
    let body = r#"{"error":{"code":"refused","message":"\u001b[2Jbad","rule":"Life"}}"#;
    let problem = client(422, body).await.0.publish(&collection(), &publication()).await.unwrap_err();
    assert!(problem.text().contains("Life") && !problem.text().contains('\u{1b}'), "{}", problem.text());
}

#[tokio::test]
async fn a_taken_name_is_no_race() {
    let problem = client(409, "").await.0.reserve(&collection()).await.unwrap_err();
    assert_eq!(problem.id(), "E3202");
}

#[tokio::test]
async fn answers_are_read() {
    let (client, _) = client(200, r#"{"entries":[],"later":1}"#).await;
    assert!(client.log(&collection(), Some(7), 1_000_000).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn nobody_listening_is_a_network_problem() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = ApiClient::new(&address, HttpOptions::default()).unwrap();
    assert_eq!(client.collections().await.unwrap_err().exit(), 30);
    assert_eq!(ApiClient::new("http://example.com", HttpOptions::default()).unwrap_err().id(), "E0006");
}
