//! Where passphrases come from, and what is refused.

use super::*;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

fn info() -> PromptInfo {
    PromptInfo { key: "alice".into(), algorithm: None, key_id: None, purpose: PromptPurpose::Open }
}

fn nobody(_: &PromptInfo) -> Result<Passphrase, PassphraseError> {
    panic!("nobody should have been asked")
}

fn variable(value: Option<&str>, file: Option<&str>) -> PassphraseVariable {
    PassphraseVariable { name: "TRUST_PASSPHRASE".into(), value: value.map(Into::into), file: file.map(Into::into) }
}

fn file_with(content: &[u8], mode: u32) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    file
}

#[test]
fn a_passphrase_file_that_others_can_read_or_write_is_refused_with_the_remedy() {
    for mode in [0o644, 0o640, 0o604, 0o620, 0o602, 0o777] {
        let file = file_with(b"secret\n", mode);
        let error = read_passphrase_file(file.path()).unwrap_err();
        assert!(matches!(error, PassphraseError::TooOpen { mode: found, .. } if found == mode), "{error}");
        assert!(error.to_string().contains("chmod 600 "), "{error}");
    }
}

#[test]
fn a_passphrase_file_of_more_than_4_kib_is_refused_and_one_of_4_kib_is_read() {
    let file = file_with(&[b'a'; MAX_PASSPHRASE_BYTES + 1], 0o600);
    assert!(matches!(read_passphrase_file(file.path()), Err(PassphraseError::TooLong)));
    let file = file_with(&[b'a'; 100_000], 0o600);
    assert!(matches!(read_passphrase_file(file.path()), Err(PassphraseError::TooLong)));
    let file = file_with(&[&[b'a'; MAX_PASSPHRASE_BYTES][..], b"\r\n"].concat(), 0o600);
    assert_eq!(read_passphrase_file(file.path()).unwrap().expose().len(), MAX_PASSPHRASE_BYTES);
}

#[test]
fn an_endless_device_and_a_directory_are_refused() {
    assert!(matches!(read_passphrase_file(Path::new("/dev/zero")), Err(PassphraseError::TooLong)));
    assert!(matches!(read_passphrase_file(Path::new("/tmp")), Err(PassphraseError::NotAFile { .. })));
    assert!(matches!(read_passphrase_file(Path::new("/nonexistent/p")), Err(PassphraseError::Unreadable { .. })));
}

#[test]
fn exactly_one_trailing_newline_is_removed_and_nothing_else() {
    for (content, expected) in [
        (&b"secret\n"[..], &b"secret"[..]),
        (b"secret", b"secret"),
        (b"secret\n\n", b"secret\n"),
        (b"secret\r\n", b"secret"),
        (b" se cret ", b" se cret "),
        (b"\n", b""),
        (b"", b""),
        (b"\xff\x00\n", b"\xff\x00"),
    ] {
        let file = file_with(content, 0o600);
        assert_eq!(read_passphrase_file(file.path()).unwrap().expose(), expected, "{content:?}");
    }
}

#[test]
fn a_variable_and_its_file_twin_together_are_an_error_that_names_the_variable_and_not_its_value() {
    let inputs = PassphraseInputs { variables: vec![variable(Some("hunter2"), Some("/x"))], ..Default::default() };
    assert!(!format!("{inputs:?}").contains("hunter2"));
    let error = PassphraseSource::resolve(inputs).unwrap_err();
    assert!(matches!(error, PassphraseError::TwoVariables { .. }));
    assert!(error.to_string().contains("TRUST_PASSPHRASE_FILE"));
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn both_flags_together_are_an_error() {
    let inputs = PassphraseInputs { file: Some("/x".into()), descriptor: Some(3), variables: vec![] };
    assert!(matches!(PassphraseSource::resolve(inputs), Err(PassphraseError::TwoFlags)));
}

#[test]
fn set_but_empty_is_an_empty_passphrase_and_unset_asks() {
    let inputs = PassphraseInputs { variables: vec![variable(Some(""), None)], ..Default::default() };
    let mut source = PassphraseSource::resolve(inputs).unwrap();
    assert!(source.obtain(&info(), &mut nobody).unwrap().is_empty());

    let inputs = PassphraseInputs { variables: vec![variable(None, None)], ..Default::default() };
    let mut source = PassphraseSource::resolve(inputs).unwrap();
    let mut asked = 0;
    let mut ask = |_: &PromptInfo| {
        asked += 1;
        Passphrase::new("typed")
    };
    assert_eq!(source.obtain(&info(), &mut ask).unwrap().expose(), b"typed");
    source.obtain(&info(), &mut ask).unwrap();
    assert_eq!(asked, 2, "a person is asked for each key");

    let inputs = PassphraseInputs { variables: vec![variable(None, Some(""))], ..Default::default() };
    assert!(matches!(PassphraseSource::resolve(inputs), Err(PassphraseError::EmptyFileVariable { .. })));
}

#[test]
fn flag_ranks_above_variable_and_an_earlier_variable_above_a_later_one() {
    let file = file_with(b"from file", 0o600);
    let inputs = PassphraseInputs {
        file: Some(file.path().into()),
        descriptor: None,
        variables: vec![variable(Some("from variable"), None)],
    };
    let mut source = PassphraseSource::resolve(inputs).unwrap();
    assert_eq!(source.obtain(&info(), &mut nobody).unwrap().expose(), b"from file");

    let inputs = PassphraseInputs {
        variables: vec![variable(None, None), variable(Some("second"), None), variable(Some("third"), None)],
        ..Default::default()
    };
    let mut source = PassphraseSource::resolve(inputs).unwrap();
    assert_eq!(source.obtain(&info(), &mut nobody).unwrap().expose(), b"second");
}

#[test]
fn a_pipe_on_a_descriptor_is_read_once_and_serves_every_key_of_the_command() {
    let (reader, writer) = std::io::pipe().unwrap();
    (&writer).write_all(b"through the pipe\n").unwrap();
    drop(writer);
    let number: u32 = {
        use std::os::fd::AsRawFd;
        reader.as_raw_fd().try_into().unwrap()
    };
    let mut source =
        PassphraseSource::resolve(PassphraseInputs { descriptor: Some(number), ..Default::default() }).unwrap();
    assert_eq!(source.obtain(&info(), &mut nobody).unwrap().expose(), b"through the pipe");
    drop(reader);
    assert_eq!(source.obtain(&info(), &mut nobody).unwrap().expose(), b"through the pipe");
}

#[test]
fn the_outputs_and_a_closed_descriptor_are_refused() {
    for descriptor in [1, 2] {
        assert!(matches!(read_passphrase_descriptor(descriptor), Err(PassphraseError::OutputDescriptor { .. })));
    }
    assert!(matches!(read_passphrase_descriptor(1_000_000), Err(PassphraseError::Unreadable { .. })));
}

#[test]
fn a_fifo_is_read_whatever_its_mode() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    let writer = std::thread::spawn({
        let path = path.clone();
        move || std::fs::write(path, "piped\n").unwrap()
    });
    assert_eq!(read_passphrase_file(&path).unwrap().expose(), b"piped");
    writer.join().unwrap();
}

#[test]
fn debug_output_shows_no_passphrase() {
    let passphrase = Passphrase::new("hunter2").unwrap();
    let source = PassphraseSource::Given(passphrase.clone());
    assert!(!format!("{passphrase:?} {source:?}").contains("hunter2"));
}

#[test]
fn a_passphrase_above_the_limit_is_refused_also_from_a_variable() {
    let long = "x".repeat(MAX_PASSPHRASE_BYTES + 1);
    let inputs = PassphraseInputs { variables: vec![variable(Some(&long), None)], ..Default::default() };
    assert!(matches!(PassphraseSource::resolve(inputs), Err(PassphraseError::TooLong)));
}
