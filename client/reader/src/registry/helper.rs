//! Credential helpers: `docker-credential-NAME get`, host on standard input, JSON on standard output.
//!
//! Invariant: a helper has a deadline and a limit on its output, is killed when either is passed, and nothing that it
//! prints reaches an error. Deliberately absent: storing and erasing.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::auth_file::{Credentials, Secret};
use super::error::Reason;

/// Longest output of a helper that is read, in bytes.
const MAX_OUTPUT_LEN: u64 = 64 * 1024;
/// What a helper prints (exit code not 0) when it simply has nothing.
const NOT_FOUND: &[u8] = b"credentials not found in native keychain";

/// Asks the helper `docker-credential-NAME` for the credentials of a host; `None` if it has none. `folder` is where helpers
/// are looked for instead of PATH.
pub(crate) async fn ask(
    name: &str,
    host: &str,
    folder: Option<&Path>,
    deadline: Duration,
) -> Result<Option<Credentials>, Reason> {
    let failed =
        |why: &str| Reason::CredentialHelper { helper: format!("docker-credential-{name}"), why: why.to_owned() };
    // The name comes from a file: it must not become a path to any program.
    if name.is_empty()
        || name.len() > 64
        || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    {
        return Err(Reason::CredentialHelper {
            helper: "docker-credential-?".to_owned(),
            why: "its name is not valid".to_owned(),
        });
    }
    let program = format!("docker-credential-{name}");
    let program = folder.map_or_else(|| program.clone().into(), |folder| folder.join(&program));
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&format!("it cannot be started ({})", error.kind())))?;
    let conversation = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not read its input says so by its exit code.
            let _ = stdin.write_all(format!("{host}\n").as_bytes()).await;
        }
        let mut output = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MAX_OUTPUT_LEN + 1).read_to_end(&mut output).await?;
        }
        // One that prints on would wait for a reader that has left.
        if u64::try_from(output.len()).is_ok_and(|len| len > MAX_OUTPUT_LEN) {
            return Ok((None, output));
        }
        child.wait().await.map(|status| (Some(status), output))
    };
    let (status, output) = match tokio::time::timeout(deadline, conversation).await {
        Err(_) => return Err(failed("it did not answer in time")),
        Ok(Err(error)) => return Err(failed(&format!("it cannot be read ({})", error.kind()))),
        Ok(Ok((None, _))) => return Err(failed("it prints too much")),
        Ok(Ok((Some(status), output))) => (status, output),
    };
    if !status.success() {
        return match output.trim_ascii().starts_with(NOT_FOUND) {
            true => Ok(None),
            false => Err(failed("it ended with an error")),
        };
    }
    let answer = trust_image::json::parse(&output).map_err(|_| failed("its output is not JSON"))?;
    let text = |member: &str| answer.get(member).and_then(serde_json::Value::as_str);
    match (text("Username"), text("Secret")) {
        (_, None) => Err(failed("its output has no secret")),
        (_, Some("")) => Ok(None),
        (Some("<token>"), Some(secret)) => Ok(Some(Credentials::IdentityToken(Secret::new(secret)))),
        (user, Some(secret)) => Ok(Some(Credentials::basic(user.unwrap_or_default(), secret))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake_registry::STARTING;
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    /// A folder with a helper `docker-credential-test` of this shell text.
    fn helper(script: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker-credential-test");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        dir
    }

    async fn run(script: &str) -> Result<Option<Credentials>, Reason> {
        let _alone = STARTING.lock().await;
        let dir = helper(script);
        ask("test", "r.io", Some(dir.path()), Duration::from_secs(10)).await
    }

    fn why(result: Result<Option<Credentials>, Reason>) -> String {
        match result {
            Err(Reason::CredentialHelper { why, .. }) => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_helper_name_never_becomes_a_path() {
        for name in ["", "../x", "a/b", "a b", "a;b", "é", "."] {
            let result = ask(name, "r.io", None, Duration::from_secs(1)).await;
            assert_eq!(why(result), "its name is not valid", "{name:?}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_ended_at_the_deadline() {
        let _alone = STARTING.lock().await;
        let dir = helper("exec sleep 60");
        let start = Instant::now();
        let result = ask("test", "r.io", Some(dir.path()), Duration::from_millis(300)).await;
        assert_eq!(why(result), "it did not answer in time");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn a_helper_that_prints_without_end_is_ended() {
        let line = "x".repeat(200);
        assert_eq!(why(run(&format!("while :; do echo {line}; done")).await), "it prints too much");
    }

    #[tokio::test]
    async fn a_failing_helper_says_nothing_of_what_it_printed() {
        assert_eq!(why(run("echo hunter2; exit 1").await), "it ended with an error");
        assert_eq!(why(run("echo hunter2").await), "its output is not JSON");
        assert_eq!(why(run("echo '{\"Username\":\"hunter2\"}'").await), "its output has no secret");
        let missing = ask("absent", "r.io", None, Duration::from_secs(1)).await;
        assert!(why(missing).starts_with("it cannot be started"));
    }

    #[tokio::test]
    async fn a_helper_without_an_entry_is_no_error() {
        assert_eq!(run("echo credentials not found in native keychain; exit 1").await, Ok(None));
    }

    #[tokio::test]
    async fn a_helper_gets_the_host_and_gives_login_or_identity_token() {
        let script = "read host; [ \"$1 $host\" = 'get r.io' ] && echo '{\"ServerURL\":\"r.io\",\"Username\":\"u\",\"Secret\":\"hunter2\"}'";
        assert_eq!(run(script).await, Ok(Some(Credentials::basic("u", "hunter2"))));
        let script = "echo '{\"Username\":\"<token>\",\"Secret\":\"hunter2\"}'";
        assert_eq!(run(script).await, Ok(Some(Credentials::IdentityToken(Secret::new("hunter2")))));
    }
}
