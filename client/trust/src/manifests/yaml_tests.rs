use serde_json::json;

use super::*;

fn values(text: &str) -> Result<Vec<Value>, YamlError> {
    Tree::read(text).and_then(|tree| tree.values())
}

fn why(text: &str) -> Why {
    match values(text) {
        Err(error) => error.why,
        Ok(values) => panic!("{text:?} is read as {values:?}"),
    }
}

#[test]
fn a_key_given_twice_is_refused_however_it_is_written() {
    for text in
        ["a: 1\na: 2\n", "a: 1\n\"a\": 2\n", "{a: 1, 'a': 2}", "x:\n  - a: 1\n    a: 2\n", "\"\\x61\": 1\na: 2\n"]
    {
        assert_eq!(why(text), Why::KeyTwice("a".to_owned()), "{text}");
    }
}

#[test]
fn a_billion_laughs_are_cut_short() {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, below) in ["b", "c", "d", "e", "f", "g", "h", "i"].iter().zip(["a", "b", "c", "d", "e", "f", "g", "h"]) {
        text.push_str(&format!("{name}: &{name} [*{below}{}]\n", format!(", *{below}").repeat(9)));
    }
    assert_eq!(why(&text), Why::TooMany);
}

#[test]
fn an_alias_of_itself_or_of_nothing_is_refused() {
    assert_eq!(why("a: &a [*a]\n"), Why::Alias);
    assert_eq!(why("a: &a\n  b: *a\n"), Why::Alias);
    for text in ["a: *b\n", "a: &a 1\n---\nb: *a\n"] {
        assert!(values(text).is_err(), "{text}");
    }
}

#[test]
fn nesting_is_bounded() {
    assert!(values(&"[".repeat(100_000)).is_err());
    assert!(values(&"- ".repeat(100_000)).is_err());
    assert_eq!(why(&format!("a: {}1{}", "{a: ".repeat(70), "}".repeat(70))), Why::TooDeep);
    let chain: String = (1..70).map(|n| format!("a{n}: &a{n} [*a{}]\n", n - 1)).collect();
    assert_eq!(why(&format!("a0: &a0 [x]\n{chain}")), Why::TooDeep);
}

#[test]
fn line_breaks_and_marks_that_hide_content_from_some_readers_are_refused() {
    for c in ['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}', '\u{1b}', '\u{0}', '\u{7f}'] {
        assert_eq!(why(&format!("a: 1 # x{c}b: 2\n")), Why::Character(u32::from(c)));
    }
    assert_eq!(why("a: 1 # x\rb: 2\n"), Why::Character(13));
    assert!(values("a: 1\r\nb: 2\r\n").is_ok());
}

#[test]
fn content_behind_a_separator_is_refused() {
    for text in ["--- |\n  kind: Pod\n", "---x: |\n  kind: Pod\n", "a: 1\n--- {b: 2}\n", "---#x\n", "--- !!str x\n"] {
        assert_eq!(why(text), Why::Separator, "{text}");
    }
    for text in ["---\na: 1\n", "--- # first\na: 1\n---  \nb: 1\n", "---\r\na: 1\r\n---\r\nb: 2\r\n"] {
        assert!(values(text).is_ok(), "{text}");
    }
}

#[test]
fn a_separator_to_kubectl_is_one_to_us_or_the_file_is_refused() {
    let pod = "kind: Pod\nspec: {containers: [{image: evil}]}\n";
    for before in [">-\n", "|\n", ">\n\n", "# a\n|+\n", "---\n>-\n", "&a >-\n", "!!str |\n"] {
        match values(&format!("{before}---\n{pod}")) {
            Err(error) => assert_eq!(error.why, Why::InsideText, "{before:?}"),
            Ok(values) => assert!(values.iter().any(|value| value["kind"] == "Pod"), "{before:?}: {values:?}"),
        }
    }
    for text in ["a: \"\n---\nb: 1\n\"\n", "a: '\n---\n'\n", "a: [\n---\n]\n", "a: {b:\n---\n}\n"] {
        assert!(values(text).is_err(), "{text}");
    }
    for text in
        ["---\n---\na: 1\n", "a: |\n  ---\n  x\n---\nb: 1\n", "a: 1\n...\n---\nb: 2\n", "# a\n--- # b\r\na: 1\r\n"]
    {
        assert!(values(text).is_ok(), "{text:?}: {:?}", values(text));
    }
}

#[test]
fn tags_that_make_other_values_are_refused() {
    for text in [
        "kind: !!binary UG9k\n",
        "kind: !x Pod\n",
        "kind: ! Pod\n",
        "!!binary a2luZA==: Pod\n",
        "a: !!set {b, c}\n",
        "a: !!python/object:x {}\n",
        "? [a]\n: b\n",
        "? {a: b}\n: c\n",
        "*x : y\n",
    ] {
        assert!(values(text).is_err(), "{text}");
    }
    assert_eq!(values("a: !!str 5\nb: !!int \"5\"\n").unwrap(), [json!({"a": "5", "b": false})]);
}

#[test]
fn a_scalar_is_text_only_if_every_reader_takes_it_for_text() {
    for text in
        ["1", "1.25", "0x1F", "1_000", "12:30:45", "2001-12-14", "yes", "Off", "y", "true", "-.inf", ".NaN", "1e3"]
    {
        assert_eq!(values(&format!("a: {text}\n")).unwrap(), [json!({"a": false})], "{text}");
    }
    for text in ["", "~", "null", "Null"] {
        assert_eq!(values(&format!("a: {text}\n")).unwrap(), [json!({"a": null})], "{text}");
    }
    for text in ["v1", "nginx:1.25", "10.0.0.1:5000/api:v1", "1.2.3-rc1", "'1.25'", "\"yes\"", "r.io/a@sha256:00"] {
        let expected = text.trim_matches(['\'', '"']);
        assert_eq!(values(&format!("a: {text}\n")).unwrap(), [json!({"a": expected})], "{text}");
    }
}

#[test]
fn merge_keys_bring_their_members_and_never_override() {
    let text = "base: &b\n  image: x\nc:\n  <<: *b\n  name: z\n";
    assert_eq!(values(text).unwrap(), [json!({"base": {"image": "x"}, "c": {"image": "x", "name": "z"}})]);
    let list = "a: &a {x: q}\nb: &b {y: q}\nc:\n  <<: [*a, *b]\n";
    assert_eq!(values(list).unwrap()[0]["c"], json!({"x": "q", "y": "q"}));
    let inline = "c:\n  <<: {image: x}\n";
    assert_eq!(values(inline).unwrap()[0]["c"], json!({"image": "x"}));
    for text in [
        "base: &b\n  image: x\nc:\n  <<: *b\n  image: y\n",
        "a: &a {x: 1}\nb: &b {x: 2}\nc:\n  <<: [*a, *b]\n",
        "c:\n  <<: text\n",
        "c:\n  \"<<\": {image: x}\n",
        "a: &a {x: 1}\nb: &b {<<: *a}\nc: {<<: *b}\n",
        "a: &a {x: 1}\nc:\n  <<: *a\n  <<: *a\n",
    ] {
        assert!(values(text).is_err(), "{text}");
    }
}

#[test]
fn a_value_is_found_where_its_text_is_written() {
    let text = "c: &c\n  image: x # é\nd:\n  - <<: *c\n  - image: &i \"y\"\n  - image: *i\n";
    let tree = Tree::read(text).unwrap();
    let member = |name: &'static str| Step::Member(name.into());
    let line = |steps: &[Step]| tree.node(tree.find(tree.roots()[0], steps).unwrap()).unwrap().at.line;
    assert_eq!(line(&[member("d"), Step::Index(0), member("image")]), 2);
    assert_eq!(line(&[member("d"), Step::Index(1), member("image")]), 5);
    assert_eq!(line(&[member("d"), Step::Index(2), member("image")]), 5);
    assert!(tree.find(tree.roots()[0], &[member("d"), Step::Index(3)]).is_none());
}

#[test]
fn json_is_read_with_tabs_and_escapes() {
    let text = "{\n\t\"kind\": \"Pod\",\n\t\"spec\": {\"containers\": [\n\t\t{\"image\": \"r.io\\/a:v1\"}\n\t]}\n}\n";
    let expected = json!({"kind": "Pod", "spec": {"containers": [{"image": "r.io/a:v1"}]}});
    assert_eq!(values(text).unwrap(), [expected]);
    assert!(values("{\"a\": 1}\n{\"b\": 2}\n").is_err(), "a stream of JSON is not passed over");
    assert!(values("{\"a\": 1} {\"b\": 2}").is_err());
}

#[test]
fn tabs_as_indentation_are_refused() {
    assert!(values("a:\n\tb: 1\n").is_err());
}

#[test]
fn a_long_stream_is_read_and_an_endless_one_refused() {
    let documents = |n: usize| (0..n).map(|n| format!("---\na: v{n}\n")).collect::<String>();
    assert_eq!(values(&documents(1_000)).unwrap().len(), 1_000);
    assert_eq!(why(&documents(MAX_DOCUMENTS + 1)), Why::TooManyDocuments);
}
