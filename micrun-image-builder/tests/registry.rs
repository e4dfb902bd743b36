//! Images go up to a real registry and come back: without login, with Basic, with tokens, over TLS, and over a line that
//! breaks.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

#[path = "support/registry/mod.rs"]
mod support;

use std::sync::Arc;

use micrun_image_builder::registry::{Credential, Login, Options, RegistryError};
use micrun_image_builder::store::{Sink, Source, StoreError, digest_of};
use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::MediaType;
use support::certificates::Certificates;
use support::debian::{DebianRegistry, PASSWORD, USER};
use support::image::{Image, descriptor, read_blob};
use support::proxy::{Proxy, Way};
use support::sessions::Sessions;
use support::{Retries, name, options, password, registry, tokens};

const LAYER: usize = 3 << 20;

#[test]
fn what_goes_up_comes_back() {
    let server = DebianRegistry::open();
    let registry = registry(options());
    for size in [0, 1, 100, 64 << 10, (64 << 10) + 1, LAYER] {
        let image = Image::new(size);
        image.push(registry.sink(&name(server.address))).unwrap();
        image.pull(&registry.source(&name(server.address))).unwrap();
        let by_digest = format!("{}/a/b@{}", server.address, image.root().digest()).parse().unwrap();
        image.pull(&registry.source(&by_digest)).unwrap();
    }
}

#[test]
fn what_is_there_is_not_sent_again() {
    let server = DebianRegistry::open();
    let registry = registry(options());
    let image = Image::new(LAYER);
    let mut sink = registry.sink(&name(server.address));
    assert!(!sink.has_blob(&image.layer_descriptor()).unwrap());
    sink.put_blob(&image.layer_descriptor(), &image.layer).unwrap();
    assert!(sink.has_blob(&image.layer_descriptor()).unwrap());
    let error = registry.source(&name(server.address)).resolve().unwrap_err().to_string();
    assert!(
        error.contains("404") && error.contains("MANIFEST_UNKNOWN") && error.contains("Check the name"),
        "{error}"
    );
}

#[test]
fn reads_a_blob_from_any_offset() {
    let server = DebianRegistry::open();
    let registry = registry(options());
    let image = Image::new(LAYER);
    image.push(registry.sink(&name(server.address))).unwrap();
    let source = registry.source(&name(server.address));
    for offset in [0, 1, LAYER / 2, LAYER - 1, LAYER] {
        let mut bytes = Vec::new();
        source.open(&image.layer_descriptor(), offset as u64).unwrap().read_to_end(&mut bytes).unwrap();
        assert!(bytes == image.layer[offset..], "{offset}");
    }
}

#[test]
fn logs_in_with_a_password() {
    let server = DebianRegistry::with_password();
    let image = Image::new(100);
    let login = |login| registry(Options { login, ..options() });
    image.push(login(password(USER, PASSWORD)).sink(&name(server.address))).unwrap();
    image.pull(&login(password(USER, PASSWORD)).source(&name(server.address))).unwrap();

    for (wrong, hint) in [(password(USER, "wrong"), "not enough"), (Login::Anonymous, "No credentials")] {
        let error = login(wrong).source(&name(server.address)).resolve().unwrap_err().to_string();
        let commands =
            ["docker", "podman", "skopeo"].map(|tool| format!("`{tool} login {}`", server.address));
        assert!(error.contains("401 Unauthorized") && error.contains(hint), "{error}");
        assert!(commands.iter().all(|command| error.contains(command)), "{error}");
    }
}

#[test]
fn logs_in_with_tokens() {
    let certificates = Arc::new(Certificates::new());
    let service = tokens::start(Arc::clone(&certificates), USER, PASSWORD);
    let server = DebianRegistry::with_tokens(&format!("http://{}/token", service.address), &certificates);
    let image = Image::new(LAYER);
    let login = |login| registry(Options { login, ..options() });
    image.push(login(password(USER, PASSWORD)).sink(&name(server.address))).unwrap();
    // One token does for everything.
    assert_eq!(service.requests().len(), 1, "{:?}", service.lines());
    assert!(service.lines()[0].contains("service=test-registry&scope=repository%3Aa%2Fb%3Apull%2Cpush"));
    image.pull(&login(Login::Anonymous).source(&name(server.address))).unwrap();
    let refresh = Login::Given(Credential::IdentityToken(tokens::REFRESH_TOKEN.to_owned()));
    image.push(login(refresh).sink(&name(server.address))).unwrap();

    let error = image.push(login(Login::Anonymous).sink(&name(server.address))).unwrap_err().to_string();
    assert!(error.contains("401 Unauthorized") && error.contains("docker login"), "{error}");
    let error =
        image.push(login(password(USER, "wrong")).sink(&name(server.address))).unwrap_err().to_string();
    assert!(
        error.contains("get a token") && error.contains("wrong password") && error.contains("/token"),
        "{error}"
    );
}

#[test]
fn a_token_service_without_tls_gets_no_credentials() {
    let certificates = Arc::new(Certificates::new());
    let service = tokens::start(Arc::clone(&certificates), USER, PASSWORD);
    let server =
        DebianRegistry::with_tls_and_tokens(&format!("http://{}/token", service.address), &certificates);
    let tls = Options { plain_http: false, ca_files: vec![certificates.path("ca.pem")], ..options() };
    let registry = registry(Options { login: password(USER, PASSWORD), ..tls });
    let error = registry.source(&name(server.address)).resolve().unwrap_err().to_string();
    assert!(error.contains("without TLS") && service.requests().is_empty(), "{error}");
}

#[test]
fn skopeo_reads_what_went_up_and_what_it_puts_up_comes_back() {
    let server = DebianRegistry::open();
    let image = Image::new(LAYER);
    image.push(registry(options()).sink(&name(server.address))).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}:v1", dir.path().join("layout").display());
    let remote = |name: &str| format!("docker://{}/{name}", server.address);
    skopeo(&["copy", "--preserve-digests", "--src-tls-verify=false", &remote("a/b:v1"), &layout]);
    skopeo(&["copy", "--preserve-digests", "--dest-tls-verify=false", &layout, &remote("c/d:v2")]);
    image.pull(&registry(options()).source(&remote("c/d:v2").parse().unwrap())).unwrap();
}

fn skopeo(arguments: &[&str]) {
    let output = std::process::Command::new("skopeo").args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("skopeo is missing ({error}): install skopeo"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn trusts_the_ca_that_it_is_given_and_no_other() {
    let certificates = Certificates::new();
    let server = DebianRegistry::with_tls(&certificates);
    let image = Image::new(LAYER);
    let tls = Options { plain_http: false, ..options() };
    let with_ca = |file| registry(Options { ca_files: vec![certificates.path(file)], ..tls.clone() });
    image.push(with_ca("ca.pem").sink(&name(server.address))).unwrap();
    image.pull(&with_ca("ca.pem").source(&name(server.address))).unwrap();
    let by_name = format!("localhost:{}", server.address.port());
    image.pull(&with_ca("ca.pem").source(&name(&by_name))).unwrap();

    let error = registry(tls.clone()).source(&name(server.address)).resolve().unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer") && error.contains("--ca-file"), "{error}");
    for file in ["key.pem", "message", "ca.key"] {
        std::fs::write(certificates.path("message"), "no certificate").unwrap();
        let error = with_ca(file).source(&name(server.address)).resolve().unwrap_err().to_string();
        assert!(error.contains(file) && error.contains("--ca-file"), "{error}");
    }
    let plain = registry(options()).source(&name(server.address)).resolve().unwrap_err().to_string();
    assert!(plain.contains("leave --plain-http out"), "{plain}");

    let server = DebianRegistry::open();
    let error = registry(tls).source(&name(server.address)).resolve().unwrap_err().to_string();
    assert!(error.contains("speaks no TLS") && error.contains("--plain-http"), "{error}");
}

/// Early: while the first answers come. A cut counts all bytes since the proxy was started.
fn download_cuts() -> [u64; 3] {
    [40, LAYER as u64 / 2, LAYER as u64 - 1000]
}

#[test]
fn a_download_goes_on_where_the_line_broke() {
    let server = DebianRegistry::open();
    let image = Image::new(LAYER);
    image.push(registry(options()).sink(&name(server.address))).unwrap();
    for cuts in download_cuts().map(|cut| vec![cut]).into_iter().chain([download_cuts().to_vec()]) {
        let proxy = Proxy::start(server.address, Way::Down, &cuts);
        let retries = Retries::default();
        let registry = registry(Options { progress: Arc::new(retries.clone()), ..options() });
        let source = registry.source(&name(proxy.address));
        assert!(read_blob(&source, &image.layer_descriptor()).unwrap() == image.layer);
        assert_eq!((proxy.cuts_left(), retries.list().len()), (0, cuts.len()), "{:?}", retries.list());
        // No byte of the layer came twice, but what the proxy had passed on when it cut and nobody read any more.
        let (came, heads) = (proxy.bytes(Way::Down), 2000 * (1 + cuts.len() as u64));
        assert!(came < LAYER as u64 + heads + lost(&retries, &cuts), "{came} bytes for {cuts:?}");
    }
}

/// Bytes that had passed the proxy when it cut and were not taken up.
fn lost(retries: &Retries, cuts: &[u64]) -> u64 {
    let taken = retries.list();
    cuts.iter().zip(&taken).map(|(cut, (_, offset))| cut.saturating_sub(*offset)).sum()
}

#[test]
fn an_upload_to_debians_registry_survives_cuts() {
    let server = DebianRegistry::open();
    let image = Image::new(LAYER);
    for cut in [300, LAYER as u64 / 2, LAYER as u64] {
        let proxy = Proxy::start(server.address, Way::Up, &[cut]);
        let retries = Retries::default();
        let registry = registry(Options { progress: Arc::new(retries.clone()), ..options() });
        let mut name = format!("{}/a/cut{cut}:v1", proxy.address);
        image.push(registry.sink(&name.parse().unwrap())).unwrap();
        assert_eq!((proxy.cuts_left(), retries.list().is_empty()), (0, false));
        name = name.replace(&proxy.address.to_string(), &server.address.to_string());
        image.pull(&registry.source(&name.parse().unwrap())).unwrap();
    }
}

#[test]
fn an_upload_goes_on_where_the_line_broke() {
    let image = Image::new(LAYER);
    for cuts in
        [vec![700], vec![LAYER as u64 / 2], vec![LAYER as u64], vec![700, LAYER as u64 / 2, LAYER as u64]]
    {
        let server = Sessions::start();
        let proxy = Proxy::start(server.script.address, Way::Up, &cuts);
        let retries = Retries::default();
        let registry = registry(Options { progress: Arc::new(retries.clone()), ..options() });
        let mut sink = registry.sink(&name(proxy.address));
        sink.put_blob(&image.layer_descriptor(), &image.layer).unwrap();
        assert_eq!((proxy.cuts_left(), retries.list().len()), (0, cuts.len()), "{:?}", retries.list());
        assert!(server.blob(Sha256Digest::of(&image.layer)).unwrap() == image.layer);
        // Every byte came once; only what was cut before it had any byte began anew.
        assert_eq!(server.received(), LAYER as u64, "{cuts:?}");
        assert!(proxy.bytes(Way::Up) < LAYER as u64 + 5000 + 1000 * cuts.len() as u64, "{cuts:?}");
    }
}

#[test]
fn an_upload_whose_answers_are_lost_is_found_again() {
    let image = Image::new(100_000);
    for cut in (1..500).step_by(29) {
        let server = Sessions::start();
        let proxy = Proxy::start(server.script.address, Way::Down, &[cut]);
        let mut sink = registry(options()).sink(&name(proxy.address));
        sink.put_blob(&image.layer_descriptor(), &image.layer).unwrap();
        assert!(server.blob(Sha256Digest::of(&image.layer)).unwrap() == image.layer);
        assert_eq!(
            (server.received(), server.begun() <= 2),
            (100_000, true),
            "cut at {cut}: {:?}",
            server.script.lines()
        );
    }
}

#[test]
fn an_upload_that_is_cut_for_good_leaves_no_image() {
    let server = DebianRegistry::open();
    let image = Image::new(LAYER);
    let cuts: Vec<u64> = (1..20).map(|i| i * 200_000).collect();
    let proxy = Proxy::start(server.address, Way::Up, &cuts);
    let registry = registry(Options { retries: 2, ..options() });
    let error = image.push(registry.sink(&name(proxy.address))).unwrap_err().to_string();
    assert!(error.contains("given up after 3 tries") && error.contains("/v2/a/b/blobs/uploads/"), "{error}");
    let source = registry.source(&name(server.address));
    assert!(matches!(source.resolve(), Err(StoreError::Registry(error)) if error.status() == Some(404)));
    assert!(!registry.sink(&name(server.address)).has_blob(&image.layer_descriptor()).unwrap());
}

/// An artifact whose subject is the root of the image.
fn referrer(image: &Image, kind: &str) -> Vec<u8> {
    let empty = descriptor(MediaType::EmptyJSON, b"{}");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MediaType::ImageManifest.to_string(), "artifactType": kind,
        "config": empty, "layers": [empty], "subject": image.root(), "annotations": {"k": kind},
    });
    serde_json::to_vec(&manifest).unwrap()
}

#[test]
fn referrers_are_found_under_the_tag_where_the_registry_does_not_list_them() {
    let server = DebianRegistry::open();
    let registry = registry(options());
    let image = Image::new(100);
    let subject = digest_of(&image.root()).unwrap();
    let source = registry.source(&name(server.address));
    assert_eq!(source.referrers(subject).unwrap(), []);

    let mut sink = registry.sink(&name(server.address));
    sink.put_blob(&descriptor(MediaType::EmptyJSON, b"{}"), &b"{}".to_vec()).unwrap();
    for kind in ["test/one", "test/two", "test/one"] {
        let document = referrer(&image, kind);
        sink.put_referrer(subject, &descriptor(MediaType::ImageManifest, &document), &document).unwrap();
    }
    image.push(sink).unwrap();
    image.pull(&source).unwrap();

    let found = source.referrers(subject).unwrap();
    let kinds: Vec<String> =
        found.iter().map(|one| one.artifact_type().as_ref().unwrap().to_string()).collect();
    assert_eq!(kinds, ["test/one", "test/two"]);
    assert_eq!(found[1].annotations().as_ref().unwrap()["k"], "test/two");
    assert_eq!(source.referrers_of_type(subject, "test/two").unwrap(), found[1..]);
    let stranger = registry.sink(&name(server.address)).put_referrer(
        Sha256Digest::of(b"x"),
        &found[0],
        &referrer(&image, "x"),
    );
    assert!(matches!(stranger, Err(StoreError::Malformed { .. })));
}

#[test]
fn a_name_with_another_digest_is_not_written() {
    let server = DebianRegistry::open();
    let name = format!("{}/a/b:v1@{}", server.address, Sha256Digest::of(b"x")).parse().unwrap();
    let error = Image::new(10).push(registry(options()).sink(&name)).unwrap_err();
    assert!(
        matches!(&error, StoreError::Registry(error) if matches!(**error, RegistryError::Name(_))),
        "{error}"
    );
}

#[test]
fn data_that_is_not_what_was_promised_is_no_fault_of_the_registry() {
    let server = DebianRegistry::open();
    let registry = registry(options());
    let image = Image::new(LAYER);
    let mut sink = registry.sink(&name(server.address));
    let error = sink.put_blob(&image.layer_descriptor(), &image.layer[..LAYER - 1].to_vec()).unwrap_err();
    assert!(matches!(error, StoreError::Read { .. }), "{error}");
    let other = vec![0; LAYER];
    let error = sink.put_blob(&image.layer_descriptor(), &other).unwrap_err().to_string();
    assert!(error.contains("DIGEST_INVALID"), "{error}");
    assert!(!sink.has_blob(&image.layer_descriptor()).unwrap());
}
