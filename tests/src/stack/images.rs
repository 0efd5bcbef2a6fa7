//! Small real images, made by hand as OCI layouts with reproducible digests, and pushed by `skopeo`.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use trust_image::Digest;

use super::{run, tool};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image in an OCI layout.
#[derive(Debug, Clone)]
pub struct Image {
    /// `sha256:…` of the manifest or index.
    pub digest: String,
    /// The layout's folder; the image has the name `image` in it.
    pub layout: std::path::PathBuf,
}

/// An image of one platform with one file and these labels.
pub fn single(layout: &Path, text: &str, labels: &[(&str, &str)]) -> io::Result<Image> {
    let manifest = write_manifest(layout, "amd64", text, labels)?;
    finish(layout, manifest)
}

/// An index of linux/amd64 and linux/arm64.
pub fn index(layout: &Path, text: &str, labels: &[(&str, &str)]) -> io::Result<Image> {
    let mut manifests = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let mut entry = write_manifest(layout, architecture, text, labels)?;
        entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
        manifests.push(entry);
    }
    let body = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let entry = blob(layout, &serde_json::to_vec(&body)?, INDEX)?;
    finish(layout, entry)
}

fn finish(layout: &Path, mut entry: Value) -> io::Result<Image> {
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "image" });
    let digest = entry["digest"].as_str().unwrap_or_default().to_owned();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
    fs::write(layout.join("index.json"), serde_json::to_vec(&index)?)?;
    Ok(Image { digest, layout: layout.to_owned() })
}

fn write_manifest(layout: &Path, architecture: &str, text: &str, labels: &[(&str, &str)]) -> io::Result<Value> {
    let layer = tar("message", format!("{text} ({architecture})\n").as_bytes());
    let diff_id = Digest::of(&layer).to_string();
    let labels: serde_json::Map<String, Value> = labels.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Labels": labels },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    });
    let layer = blob(layout, &layer, "application/vnd.oci.image.layer.v1.tar")?;
    let config = blob(layout, &serde_json::to_vec(&config)?, "application/vnd.oci.image.config.v1+json")?;
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    blob(layout, &serde_json::to_vec(&manifest)?, MANIFEST)
}

fn blob(layout: &Path, bytes: &[u8], media_type: &str) -> io::Result<Value> {
    let digest = Digest::of(bytes).to_string();
    let dir = layout.join("blobs").join("sha256");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(digest.trim_start_matches("sha256:")), bytes)?;
    Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
}

/// A tar archive of one file, always the same bytes for the same content.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = header.to_vec();
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512) + 1024, 0);
    out
}

/// `skopeo copy` from the layout to `HOST:PORT/NAME:TAG`, digests kept.
pub fn push_command(image: &Image, reference: &str) -> Option<Command> {
    let mut command = Command::new(tool("skopeo")?);
    command.args(["--insecure-policy", "copy", "--all", "--preserve-digests", "--quiet", "--dest-tls-verify=false"]);
    command.arg(format!("oci:{}:image", image.layout.display())).arg(format!("docker://{reference}"));
    Some(command)
}

/// Pushes an image.
pub fn push(image: &Image, reference: &str) -> io::Result<()> {
    let mut command = push_command(image, reference)
        .ok_or_else(|| io::Error::other("skopeo is missing: run tests/tools/fetch.sh"))?;
    let output = run(&mut command)?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("skopeo: {}", String::from_utf8_lossy(&output.stderr))))
}
