//! Compiles `proto/` to Rust: messages by prost, service stubs by tonic. protox parses the files,
//! so no `protoc` is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;
use prost_types::{FileDescriptorSet, field_descriptor_proto::Type};

/// Message fields whose Rust type is raw bytes. On the wire a message field and a `bytes` field look
/// alike, so an annotation that only passes through keeps every byte, fields that our proto does not
/// name included, and is parsed only where it is looked into.
const OPAQUE: &[&str] = &[".clarifai.api.Annotation", ".clarifai.api.Data"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["clarifai/api/service.proto"], ["proto"])?;

    // The published descriptors keep the true types; only the Rust code sees bytes.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), files.encode_to_vec())?;

    tonic_prost_build::configure().bytes(".").compile_fds(with_opaque_fields(files))?;
    Ok(())
}

fn with_opaque_fields(mut files: FileDescriptorSet) -> FileDescriptorSet {
    for field in
        files.file.iter_mut().flat_map(|file| &mut file.message_type).flat_map(|message| &mut message.field)
    {
        if OPAQUE.contains(&field.type_name()) {
            field.set_type(Type::Bytes);
            field.type_name = None;
        }
    }
    files
}
