//! The file that `clarifai login` writes, as anything may have left it; and the variables beside it.
#![no_main]

use std::{cell::LazyCell, fs, path::PathBuf};

use arbitrary::Arbitrary;
use clarifai_annotations::{
    client::Client,
    config::{Arguments, Credential, Settings},
};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

#[derive(Arbitrary, Debug)]
struct Surroundings<'a> {
    api_base: Option<String>,
    grpc_base: Option<String>,
    pat: Option<String>,
    file: &'a [u8],
}

thread_local! {
    static HOME: LazyCell<(TempDir, PathBuf)> = const { LazyCell::new(|| {
        let home = TempDir::new().unwrap();
        let folder = home.path().join(".config/clarifai");
        fs::create_dir_all(&folder).unwrap();
        (home, folder.join("config"))
    }) };
}

fuzz_target!(|surroundings: Surroundings<'_>| {
    let home = HOME.with(|home| {
        fs::write(&home.1, surroundings.file).unwrap();
        home.0.path().to_str().unwrap().to_owned()
    });
    let variable = |name: &str| match name {
        "HOME" => Some(home.clone()),
        "CLARIFAI_API_BASE" => surroundings.api_base.clone(),
        "CLARIFAI_GRPC_BASE" => surroundings.grpc_base.clone(),
        "CLARIFAI_PAT" => surroundings.pat.clone(),
        _ => None,
    };
    match Settings::resolve(Arguments::default(), &variable) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(settings) => {
            let (Credential::Pat(secret) | Credential::SessionToken(secret)) = &settings.credential;
            assert!(secret.bytes().all(|byte| byte.is_ascii_graphic()) && !secret.is_empty());
            assert!(!settings.user_id.trim().is_empty() && !settings.app_id.trim().is_empty());
            assert!(["http://", "https://"].iter().any(|scheme| settings.base_url.starts_with(scheme)));
            let open =
                format!("{:?}", (&settings.user_id, &settings.app_id, &settings.base_url, &settings.origins));
            let shown = format!("{settings:?}");
            assert!(secret.len() < 12 || open.contains(secret.as_str()) || !shown.contains(secret.as_str()));
            // It may still be refused, as a base that is no address; it must not panic.
            let _client = Client::new(settings);
        }
    }
});
