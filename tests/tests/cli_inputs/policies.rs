//! Policies, environments and facts that cannot be used.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::cli_world::World;
use super::{api, fifo};

fn put(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Cases that cannot be used, and files that cannot be formatted: named, and nothing is written.
fn cases_and_formats(world: &mut World) {
    let alice = world.alice.clone();
    let case = "[[case]]\nname = \"a\"\nenvironment = \"environments/public.toml\"\n[case.image]\nreference = \"a.example.com/b:c\"\n[case.expect]\ndecision = \"deny\"\n";
    let folder = alice.home.join("cased");
    put(&folder, "policy/a.cedar", "@id(\"a\")\nforbid (principal, action, resource);\n");
    put(&folder, "environments/public.toml", "name = \"a\"\ncloud = \"public\"\n");
    put(&alice.home, "outside.toml", "name = \"a\"\ncloud = \"public\"\n");
    put(&folder, "tests/a.toml", case);
    world.refused("a case", &alice, &["policy", "test", "cased"], 0, &["passed"]);
    let outside = alice.home.join("outside.toml").display().to_string();
    let bad: Vec<(&str, Vec<u8>, &str)> = vec![
        ("no TOML", b"[[case]".to_vec(), "tests/a.toml:1:"),
        ("not UTF-8", vec![0xff], "UTF-8"),
        ("nothing", Vec::new(), "there is no case"),
        ("an unknown member", case.replace("decision", "decisoin").into(), "did you mean `decision`?"),
        (
            "an environment above the folder",
            case.replace("environments/public", "../outside").into(),
            "below the folder",
        ),
        ("an environment of elsewhere", case.replace("environments/public.toml", &outside).into(), "below the folder"),
        ("no such environment", case.replace("public", "nowhere").into(), "nowhere.toml"),
        ("a name that steers the terminal", case.replace("\"a\"", "\"\\u001b[2J\"").into(), "the name of a case"),
        ("a name twice", format!("{case}{case}").into(), "this name is also that"),
        ("too large", vec![b'\n'; 1024 * 1024 + 1], "bytes"),
    ];
    for (what, text, says) in bad {
        put(&folder, "tests/a.toml", text);
        let exit = if what == "too large" { 21 } else { 2 };
        let run =
            world.refused(&format!("cases: {what}"), &alice, &["policy", "test", "cased"], exit, &["a.toml", says]);
        let steered = run.said().contains('\u{1b}');
        world.check(&format!("cases: {what}: nothing steers the terminal"), !steered, &run.said());
    }
    put(&folder, "tests/a.toml", case);
    put(&folder, "tests/b.tml", case);
    world.refused("misnamed cases", &alice, &["policy", "test", "cased"], 21, &["b.tml would not be run"]);
    // A link stays one, and what it names is written.
    put(&alice.home, "linked.cedar", "@id(\"b\")forbid(principal,action,resource);");
    symlink("../../linked.cedar", folder.join("policy/b.cedar")).unwrap();
    world.refused("a linked file", &alice, &["policy", "fmt", "cased", "--check"], 60, &["policy/b.cedar"]);
    let text = || fs::read_to_string(alice.home.join("linked.cedar")).unwrap();
    world.check("--check writes nothing", text().starts_with("@id(\"b\")forbid"), &text());
    world.refused("a linked file", &alice, &["policy", "fmt", "cased"], 0, &["formatted"]);
    let is_link = folder.join("policy/b.cedar").symlink_metadata().unwrap().is_symlink();
    world.check("a link stays a link", is_link && text().starts_with("@id(\"b\")\nforbid (principal"), &text());
}

/// Bad folders, dictionaries, environments and facts; each is named, and nothing is published or decided.
pub fn policies(world: &mut World) {
    let (alice, ops, demo) = (world.alice.clone(), world.ops.clone(), world.demo.clone());
    world.refused("the shipped policy", &alice, &["policy", "init", "p"], 0, &["trust policy check"]);
    let shipped = alice.home.join("p");
    let rule = "@id(\"a\")\npermit (principal, action, resource);\n";
    let label = r#"{"schema":"trust/labels/v1","labels":{"k":{"values":{"a":{"fit":[]}}}}}"#;
    type Files<'a> = Vec<(&'a str, Vec<u8>)>;
    let cases: Vec<(&str, Files<'_>, &[&str])> = vec![
        ("no rule at all", vec![("policy/a.cedar", b"// nothing\n".to_vec())], &["no rule"]),
        ("not Cedar", vec![("policy/a.cedar", b"\n\npermit (principal".to_vec())], &["policy/a.cedar:3"]),
        ("not UTF-8", vec![("policy/a.cedar", vec![0xff, 0xfe])], &["policy/a.cedar", "UTF-8"]),
        ("no id", vec![("policy/a.cedar", b"permit (principal, action, resource);".to_vec())], &["@id"]),
        ("an id twice", vec![("policy/a.cedar", rule.into()), ("policy/b.cedar", rule.into())], &["policy/b.cedar"]),
        (
            "an unknown member",
            vec![(
                "policy/a.cedar",
                b"@id(\"a\")\npermit (principal, action, resource) when { resource.tga == \"x\" };".to_vec(),
            )],
            &["policy/a.cedar:", "tga"],
        ),
        (
            "a label that no dictionary has",
            vec![(
                "policy/a.cedar",
                b"@id(\"a\")\npermit (principal, action, resource) when { resource.fit.contains(\"k\") };".to_vec(),
            )],
            &["policy/a.cedar:", "k"],
        ),
        (
            "a dictionary that is no JSON",
            vec![("policy/a.cedar", rule.into()), ("labels/a.json", b"{".to_vec())],
            &["labels/a.json"],
        ),
        (
            "a label in two files",
            vec![("policy/a.cedar", rule.into()), ("labels/a.json", label.into()), ("labels/b.json", label.into())],
            &["labels/b.json", "k"],
        ),
        (
            "a label twice in one file",
            vec![
                ("policy/a.cedar", rule.into()),
                ("labels/a.json", label.replace("\"k\":{", "\"k\":{},\"k\":{").into()),
            ],
            &["labels/a.json"],
        ),
        (
            "an unknown member of the dictionary",
            vec![("policy/a.cedar", rule.into()), ("labels/a.json", label.replace("\"fit\"", "\"fits\"").into())],
            &["labels/a.json", "fits"],
        ),
        (
            "an alias that is a value",
            vec![
                ("policy/a.cedar", rule.into()),
                ("labels/a.json", label.replace("\"fit\":[]", "\"fit\":[],\"aliases\":[\"a\"]").into()),
            ],
            &["labels/a.json", "twice"],
        ),
        ("a misnamed file", vec![("policy/a.cedar", rule.into()), ("policy/deny.ceder", rule.into())], &["deny.ceder"]),
        ("a folder in it", vec![("policy/a.cedar", rule.into()), ("policy/x/b.cedar", rule.into())], &["policy/x"]),
        ("too large", vec![("policy/a.cedar", vec![b'\n'; 1024 * 1024 + 1])], &["a.cedar"]),
        ("a name that steers the terminal", vec![("policy/a\u{1b}[2J.cedar", rule.into())], &["\\u{1b}"]),
    ];
    for (n, (what, files, says)) in cases.into_iter().enumerate() {
        let folder = alice.home.join(format!("bad{n}"));
        for (name, text) in files {
            put(&folder, name, text);
        }
        let path = folder.display().to_string();
        for arguments in [vec!["policy", "check", &path], vec!["policy", "publish", &path, &demo]] {
            let run = world.refused(what, &alice, &arguments, 21, &[&["error[E2103]"], says].concat());
            let steered = run.said().contains('\u{1b}');
            world.check(&format!("{what}: nothing steers the terminal"), !steered, &run.said());
        }
    }
    cases_and_formats(world);
    let pipe = alice.home.join("pipe/policy");
    fs::create_dir_all(&pipe).unwrap();
    fifo(&pipe.join("a.cedar"));
    world.refused("a pipe as rules", &alice, &["policy", "check", "pipe"], 21, &["E2103"]);
    let dangling = alice.home.join("dangling/policy");
    fs::create_dir_all(&dangling).unwrap();
    symlink("nowhere", dangling.join("a.cedar")).unwrap();
    world.refused("a link to nothing as rules", &alice, &["policy", "check", "dangling"], 21, &["E2103"]);
    world.refused("no folder", &alice, &["policy", "check", "nowhere"], 35, &["E35", "nowhere"]);
    world.refused("a file as folder", &alice, &["policy", "check", "p/README.md"], 35, &["README.md"]);
    world.refused("no rules", &alice, &["policy", "check", "p/labels"], 21, &["E2102", "policy init"]);

    let (image, shipped) = (api(world), shipped.display().to_string());
    let public = format!("{shipped}/environments/public.toml");
    for (what, text, says) in [
        ("an unknown member", "name = 'a'\nclowd = 'public'\n", "did you mean \"cloud\"?"),
        ("no cloud", "name = 'a'\n", "cloud"),
        ("another cloud", "name = 'a'\ncloud = 'Public'\n", "must be \"public\" or \"private\""),
        ("a name with capitals", "name = 'A'\ncloud = 'public'\n", "a-z"),
        ("a member twice", "name = 'a'\nname = 'b'\ncloud = 'public'\n", "error[E0008]"),
        ("labels that are no text", "name = 'a'\ncloud = 'public'\n[labels]\nx = 1\n", "error[E0008]"),
        ("nothing", "", "error[E0008]"),
        ("no TOML", "{", "error[E0008]"),
    ] {
        put(&ops.home, "env.toml", text);
        let arguments = ["verify", &image, "--env", "env.toml", "--policy", &shipped];
        world.refused(&format!("environment: {what}"), &ops, &arguments, 3, &["error[E0008]", "env.toml", says]);
        let explain = ["policy", "explain", "--image", &image, "--env", "env.toml", "--policy", &shipped];
        world.refused(&format!("environment: {what}"), &ops, &explain, 3, &["error[E0008]", says]);
    }
    put(&ops.home, "env.toml", [0xff, 0xfe]);
    let arguments = ["verify", &image, "--env", "env.toml", "--policy", &shipped];
    world.refused("environment: no text", &ops, &arguments, 3, &["error[E0008]"]);
    put(&ops.home, "env.toml", "# ".repeat(64 * 1024));
    world.refused("environment: too long", &ops, &arguments, 3, &["error[E0008]"]);
    let arguments = ["verify", &image, "--env", "nowhere.toml", "--policy", &shipped];
    world.refused("environment: none", &ops, &arguments, 35, &["nowhere.toml"]);

    world.refused(
        "no policy is named",
        &ops,
        &["verify", &image, "--env", &public],
        21,
        &["E2102", "trust policy use"],
    );
    world.refused("--policy without --env", &ops, &["verify", &image, "--policy", &shipped], 2, &["--env"]);
    let odd = ["verify", &image, "--env", &public, "--action", "delete"];
    world.refused("an action that is none", &ops, &odd, 2, &["deploy, pull or promote"]);
    world.refused("a collection that carries no policy", &ops, &["policy", "show", &demo], 21, &["E2102"]);
    world.refused("a collection of images is no policy collection", &ops, &["policy", "use", &demo], 3, &["E0010"]);
    world.refused("nothing in use, nothing allowed", &ops, &["verify", &image, "--env", &public], 21, &["E2102"]);
    let both = ["policy", "explain", "--image", &image, "--facts", "x", "--env", &public];
    world.refused("image and facts", &ops, &both, 2, &["--facts"]);
    for (what, text) in [
        ("no JSON", "{".to_owned()),
        ("a list", "[]".to_owned()),
        ("a refusal", r#"{"ok":false,"code":"E1001"}"#.to_owned()),
        ("several images", r#"{"images":[{},{}]}"#.to_owned()),
        ("too large", " ".repeat(1024 * 1024 + 1)),
    ] {
        put(&ops.home, "facts.json", text);
        let arguments = ["policy", "explain", "--facts", "facts.json", "--env", &public, "--policy", &shipped];
        world.refused(&format!("facts: {what}"), &ops, &arguments, 2, &["facts.json"]);
    }
}
