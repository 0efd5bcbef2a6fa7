use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::manifests::scan;

const D: &str = "@sha256:0123456789012345678901234567890123456789012345678901234567890123";

fn input(text: &str) -> Input {
    Input { name: "a.yaml".to_owned(), path: None, text: text.to_owned() }
}

/// Pins every image, also those that are written through an alias.
fn pin(text: &str) -> Result<String, Problem> {
    let input = input(text);
    let scan = scan(input.body()).unwrap();
    assert!(!scan.images.is_empty());
    let pins: Pins = scan.images.iter().map(|found| (found.node, D.to_owned())).collect();
    pinned(&input, &scan, &pins)
}

fn pod(image: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: {image}\n    name: c # last\n")
}

#[test]
fn an_image_that_cannot_be_pinned_in_its_place_is_refused() {
    for bad in ["|-\n      r.io/a:v1", ">-\n      r.io/a:v1", "\"r.io/a:\\x76\\x31\"", "\"r.io/a:\\\n      v1\""] {
        let problem = pin(&pod(bad)).unwrap_err();
        assert!(problem.headline.contains("then pin it"), "{bad}: {}", problem.headline);
    }
}

#[test]
fn an_anchor_that_means_something_else_elsewhere_is_refused() {
    let text = "x: &i r.io/a:v1\napiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: *i\n";
    assert!(pin(text).unwrap_err().headline.contains("something else"));
    let label = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: &i r.io/a:v1\n    env: [{name: IMAGE, value: *i}]\n";
    assert!(pin(label).is_err());
}

#[test]
fn an_anchor_of_images_alone_is_pinned_once() {
    let text = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: &i r.io/a:v1\n  - image: *i\n";
    assert_eq!(pin(text).unwrap(), text.replace("r.io/a:v1", &format!("r.io/a:v1{D}")));
}

#[test]
fn every_other_byte_stays_as_it_was() {
    for image in ["r.io/a:v1", "'r.io/a:v1'", "\"r.io/a:v1\"", "&x r.io/a:v1", "!!str r.io/a:v1", "r.io/a:v1   # why"] {
        let text = pod(image);
        assert_eq!(pin(&text).unwrap(), text.replace("r.io/a:v1", &format!("r.io/a:v1{D}")), "{image}");
    }
    let odd = format!(
        "\u{feff}# é 界\n---\n{}---\n{{\"apiVersion\": \"v1\", \"kind\": \"Pod\",\t\"spec\": {{containers: [{{image: r.io/a:v1}}, {{\"image\":\"r.io/a:v1\"}}]}}}}\n...\n# end",
        pod("r.io/a:v1 # é")
    );
    let crlf = odd.replace('\n', "\r\n");
    for text in [odd, crlf] {
        assert_eq!(pin(&text).unwrap(), text.replace("r.io/a:v1", &format!("r.io/a:v1{D}")));
    }
    let no_newline = pod("r.io/a:v1").replace("\n    name: c # last\n", "");
    assert!(pin(&no_newline).unwrap().ends_with(D));
}

fn on_disk(folder: &Path, name: &str, text: &str, mode: u32) -> Input {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    Input { name: name.to_owned(), path: Some(path), text: text.to_owned() }
}

#[test]
fn a_file_that_changed_in_the_meantime_is_left_alone_and_nothing_is_left_beside() {
    let folder = tempfile::tempdir().unwrap();
    let a = on_disk(folder.path(), "a.yaml", "a", 0o644);
    std::fs::write(a.path.as_ref().unwrap(), "somebody else's").unwrap();
    assert!(replace(&[(&a, "new".to_owned())]).is_err());
    assert_eq!(std::fs::read_to_string(a.path.as_ref().unwrap()).unwrap(), "somebody else's");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

fn text_of(input: &Input) -> String {
    std::fs::read_to_string(input.path.as_ref().unwrap()).unwrap()
}

#[test]
fn one_of_many_files_that_changed_leaves_all_of_them_alone() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["a", "b", "c"].map(|name| on_disk(folder.path(), &format!("{name}.yaml"), name, 0o644));
    std::fs::write(files[2].path.as_ref().unwrap(), "somebody else's").unwrap();
    let changed: Vec<_> = files.iter().map(|file| (file, "new".to_owned())).collect();
    let problem = replace(&changed).unwrap_err();
    assert!(problem.headline.contains("c.yaml"), "{}", problem.headline);
    assert_eq!(files.each_ref().map(text_of), ["a", "b", "somebody else's"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

/// Files that are written beside their places, the second of which then loses what should replace it.
fn second_fails(folder: &Path) -> [Input; 2] {
    let files = ["a", "b"].map(|name| on_disk(folder, &format!("{name}.yaml"), name, 0o640));
    let path = files[0].path.as_ref().unwrap();
    write_beside(path, &beside(path), "new a").unwrap();
    files
}

fn ready(input: &Input) -> Ready<'_> {
    let path = input.path.as_ref().unwrap();
    Ready { input, path, new: beside(path), text: "new a" }
}

#[test]
fn a_file_that_cannot_be_replaced_gives_those_before_it_their_text_back() {
    let folder = tempfile::tempdir().unwrap();
    let files = second_fails(folder.path());
    assert!(take_places(&files.each_ref().map(ready)).is_err());
    assert_eq!(files.each_ref().map(text_of), ["a", "b"]);
    assert_eq!(std::fs::metadata(files[0].path.as_ref().unwrap()).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn files_that_do_not_get_their_text_back_are_named_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let files = second_fails(folder.path());
    let [a, b] = files.each_ref().map(ready);
    // Somebody wrote into it since: that is not overwritten.
    std::fs::write(a.path, "somebody else's").unwrap();
    assert!(put_back(&a).is_err());
    let problem = not_replaced(crate::fault::file(b.path, &std::io::Error::other("x")), &[a]);
    let said = format!("{problem:?}");
    assert_eq!(text_of(&files[0]), "somebody else's");
    assert!(said.contains("a.yaml") && said.contains("run it again"), "{said}");
}

#[test]
fn what_a_killed_run_left_beside_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let a = on_disk(folder.path(), "a.yaml", "a", 0o644);
    let own = format!(".a.yaml.{}.new", std::process::id());
    // No process has this number: the kernel's limit is 2^22.
    let gone = ".a.yaml.4294967295.new";
    for name in [own.as_str(), gone, ".a.yaml.1.new", ".a.yaml.x.new", ".b.yaml.4294967295.new"] {
        std::fs::write(folder.path().join(name), "old").unwrap();
    }
    replace(&[(&a, "new".to_owned())]).unwrap();
    assert_eq!(text_of(&a), "new");
    let mut left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, [".a.yaml.1.new", ".a.yaml.x.new", ".b.yaml.4294967295.new", "a.yaml"]);
}

#[test]
fn a_replaced_file_keeps_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let files = [on_disk(folder.path(), "a.yaml", "a", 0o640), on_disk(folder.path(), "b.yaml", "b", 0o755)];
    replace(&[(&files[0], "new a".to_owned()), (&files[1], "new b".to_owned())]).unwrap();
    for (file, mode, text) in [(&files[0], 0o640, "new a"), (&files[1], 0o755, "new b")] {
        let path = file.path.as_ref().unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o7777, mode);
        assert_eq!(std::fs::read_to_string(path).unwrap(), text);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
