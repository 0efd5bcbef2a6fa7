//! Pinning of made-up files in which everything is written in odd ways: whoever writes the file knows where its references
//! end, and so what must come out, byte for byte.

use super::*;
use crate::manifests::scan;
use crate::manifests::yaml::Tree;

const FILES: u64 = 600;
const DIGEST: &str = "@sha256:0123456789012345678901234567890123456789012345678901234567890123";

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// A file that is being written.
struct Writer {
    numbers: Numbers,
    text: String,
    /// Where a reference ends.
    ends: Vec<usize>,
    line: &'static str,
    anchors: usize,
}

impl Writer {
    fn new(seed: u64) -> Self {
        let mut numbers = Numbers::new(seed);
        let line = numbers.one_of(&["\n", "\n", "\r\n"]);
        let text = numbers.one_of(&["", "", "\u{feff}"]).to_owned();
        Self { numbers, text, ends: Vec::new(), line, anchors: 0 }
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(&text.replace('\n', self.line));
    }

    fn end_line(&mut self) {
        let comment = self.numbers.one_of(&[
            "",
            "",
            "   ",
            " # r.io/not:this",
            " #\ttabs\tin it",
            "  # é 界 \u{1f980}",
            " # image: 'r.io/a:v1'",
            " #",
        ]);
        self.push(comment);
        let blank = self.numbers.one_of(&["", "", "", "\n", "\n# between\n", "\n\t\n"]);
        self.push(&format!("\n{}", blank.trim_start_matches('\n')));
    }

    /// A reference, and where it ends.
    fn reference(&mut self, flow: bool) {
        let quote = self.numbers.one_of(&["", "", "'", "\""]);
        let name = self.numbers.one_of(&["r.io/a:v1", "r.io/team/app", "10.0.0.1:5000/b:x-1", "docker.io/library/c:2"]);
        if self.numbers.below(6) == 0 {
            self.push("!!str ");
        }
        self.push(quote);
        self.push(name);
        self.ends.push(self.text.len());
        self.push(quote);
        if flow {
            self.push(" ");
        }
    }

    fn container(&mut self, indent: &str) {
        match self.numbers.below(5) {
            0 => {
                self.push(&format!("{indent}- {{ name: c, image: "));
                self.reference(true);
                self.push("}");
                self.end_line();
            }
            // An anchor that several images share is written once.
            1 => {
                self.anchors += 1;
                let anchor = format!("i{}", self.anchors);
                self.push(&format!("{indent}- image: &{anchor} "));
                self.reference(false);
                self.end_line();
                self.push(&format!("{indent}  name: c\n{indent}- image: *{anchor}"));
                self.end_line();
            }
            2 => {
                self.push(&format!(
                    "{indent}- {{\"name\":\"c\",\"env\":[{{\"name\":\"A\",\"value\":\"r.io/a:v1\"}}],\"image\":"
                ));
                self.push(" ");
                self.reference(true);
                self.push("}\n");
            }
            _ => {
                self.push(&format!("{indent}- name: c"));
                self.end_line();
                let key = self.numbers.one_of(&["image", "\"image\"", "'image'"]);
                self.push(&format!("{indent}  {key}: "));
                self.reference(false);
                self.end_line();
                let more = self.numbers.one_of(&[
                    "args: [r.io/a:v1, '--image=r.io/a:v1']\n",
                    "command: >-\n      run\n      r.io/a:v1\n\n      # no comment\n",
                    "command: [\"a \\\n      b\", 'it''s']\n",
                    "",
                ]);
                if !more.is_empty() {
                    self.push(&format!("{indent}  {}", more.replace("\n      ", &format!("\n{indent}      "))));
                }
            }
        }
    }

    fn containers(&mut self, indent: &str) {
        for _ in 0..=self.numbers.below(3) {
            self.container(indent);
        }
    }

    fn kubernetes(&mut self) {
        let (head, lists, indent) = [
            ("apiVersion: v1\nkind: Pod\nspec:\n", &["initContainers", "containers"][..], "  "),
            (
                "kind: Deployment # first\napiVersion: apps/v1\nspec:\n  replicas: 2\n  template:\n    spec:\n",
                &["containers"],
                "      ",
            ),
            (
                "apiVersion: batch/v1\nkind: CronJob\nspec:\n  jobTemplate:\n    spec:\n      template:\n        spec:\n",
                &["containers"],
                "          ",
            ),
        ][self.numbers.below(3)];
        self.push(head);
        for list in lists {
            self.push(&format!("{indent}{list}:"));
            self.end_line();
            self.containers(indent);
        }
        if self.numbers.below(2) == 0 {
            let text = "metadata:\n  name: é\n  annotations:\n    a: |\n      image: r.io/a:v1 # text\n      \ttab\n    b: plain text\n      over lines\n";
            self.push(text);
        }
    }

    fn compose(&mut self) {
        self.push("name: shop\nx-base: &base\n  restart: always\n  image: ");
        self.reference(false);
        self.end_line();
        self.push("services:\n  first:\n    <<: *base\n    environment: {IMAGE: r.io/a:v1}\n");
        for n in 0..self.numbers.below(4) {
            self.push(&format!("  s{n}:"));
            self.end_line();
            self.push("    labels: ['r.io/a:v1']\n    image:   ");
            self.reference(false);
            self.end_line();
        }
        self.push("volumes: {}\n");
    }

    fn write(mut self) -> (String, Vec<usize>) {
        for n in 0..=self.numbers.below(3) {
            if n > 0 || self.numbers.below(2) == 0 {
                let separator =
                    self.numbers.one_of(&["---\n", "--- # é\n", "---  \n# Source: a/b.yaml\n", "---\n---\n"]);
                self.push(separator);
            }
            match self.numbers.below(4) {
                0 => self.compose(),
                1 => self.push("apiVersion: v1\nkind: ConfigMap\ndata: {image: r.io/a:v1}\n"),
                _ => self.kubernetes(),
            }
        }
        if self.numbers.below(4) == 0 {
            self.text.truncate(self.text.trim_end_matches(['\r', '\n']).len());
        }
        (self.text, self.ends)
    }
}

/// The values of a file, with these words in place of images.
fn values(text: &str) -> Vec<Value> {
    Tree::read(text.strip_prefix(MARK).unwrap_or(text)).unwrap().values().unwrap()
}

#[test]
fn outside_of_the_references_nothing_changes_however_the_file_is_written() {
    let mut pinned_files = 0;
    for seed in 0..FILES {
        let (text, ends) = Writer::new(seed).write();
        let input = Input { name: "a.yaml".to_owned(), path: None, text: text.clone() };
        let scan = scan(input.body()).unwrap_or_else(|e| panic!("{seed}: {e}\n{text}"));
        assert!(scan.faults.is_empty(), "{seed}: {:?}\n{text}", scan.faults);
        let nodes: std::collections::BTreeSet<NodeId> = scan.images.iter().map(|found| found.node).collect();
        assert_eq!(nodes.len(), ends.len(), "{seed}: every reference is found\n{text}");
        let pins: Pins = nodes.into_iter().map(|node| (node, DIGEST.to_owned())).collect();
        let out = pinned(&input, &scan, &pins).unwrap_or_else(|e| panic!("{seed}: {}\n{text}", e.headline));
        let mut expected = text.clone();
        for end in ends.iter().rev() {
            expected.insert_str(*end, DIGEST);
        }
        assert_eq!(out, expected, "{seed}");
        // What is read is what was read with these texts changed, and nothing else.
        let told = |values: &[Value]| serde_json::to_string(values).unwrap();
        assert_eq!(told(&values(&out)).replace(DIGEST, ""), told(&values(&text)), "{seed}");
        pinned_files += usize::from(!ends.is_empty());
    }
    assert!(pinned_files > 400, "{pinned_files}");
}

#[test]
fn a_mutated_file_is_pinned_in_its_references_or_refused_whole() {
    let words = [
        "\n", " ", "  ", "'", "\"", "#", ":", ": ", "- ", "&a ", "*a", "{", "}", "[", "]", "|", ">", "\t", "\r",
        "---\n", "<<: ", "image: ", "\u{feff}", "\u{2028}", "é", "!!str ", "\\", ",", "?", "x",
    ];
    let mut written = 0;
    for seed in 0..4 * FILES {
        let (mut text, _) = Writer::new(seed).write();
        let mut numbers = Numbers::new(!seed);
        for _ in 0..=numbers.below(3) {
            let mut at = numbers.below(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            match numbers.below(3) {
                0 => drop(text.char_indices().nth(at).map(|(i, _)| i).map(|i| text.remove(i))),
                _ => text.insert_str(at, numbers.one_of(&words)),
            }
        }
        let input = Input { name: "a.yaml".to_owned(), path: None, text: text.clone() };
        let Ok(scan) = scan(input.body()) else { continue };
        let pins: Pins = scan.images.iter().map(|found| (found.node, DIGEST.to_owned())).collect();
        let Ok(out) = pinned(&input, &scan, &pins) else { continue };
        assert_eq!(out.replace(DIGEST, ""), text, "{seed}");
        assert_eq!(out.matches(DIGEST).count(), pins.len(), "{seed}");
        let again = crate::manifests::scan(out.strip_prefix(MARK).unwrap_or(&out)).unwrap();
        for (before, after) in scan.images.iter().zip(&again.images) {
            assert_eq!(after.image, format!("{}{DIGEST}", before.image), "{seed}\n{text}");
        }
        written += 1;
    }
    assert!(written > 500, "{written}");
}
