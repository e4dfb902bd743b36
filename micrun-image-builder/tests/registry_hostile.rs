//! A registry that answers nonsense, too little, too much, or nothing: the error says what happened, at which URL, and what
//! to try; credentials stay with the registry that they are for.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

#[path = "support/registry/mod.rs"]
mod support;

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use micrun_image_builder::registry::{Options, RegistrySource};
use micrun_image_builder::store::{Sink, Source, StoreError};
use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::MediaType;
use support::image::{Image, descriptor, read_blob};
use support::script::{Reply, Request, Script};
use support::{Retries, name, options, password, registry};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: (&str, &str) = ("Content-Type", "application/vnd.oci.image.manifest.v1+json");

fn source(script: &Script) -> RegistrySource {
    registry(options()).source(&name(script.address))
}

/// The message of resolving an image where every request gets this answer.
fn message(reply: impl Fn() -> Reply + Send + Sync + 'static) -> (String, Script) {
    let script = Script::start(move |_, _| reply());
    let error = source(&script).resolve().unwrap_err().to_string();
    let url = format!("http://{}/v2/a/b/manifests/v1", script.address);
    assert!(error.contains(&url) && error.len() < 1500, "{error}");
    assert!(!error.contains(char::is_control), "{error:?}");
    (error, script)
}

#[test]
fn says_what_to_try_for_each_status() {
    let body = br#"{"errors":[{"code":"CODE","message":"in \u001b[31mred\nwords"}]}"#;
    for (status, hint, tries) in [
        (400, "log may say more", 1),
        (401, "docker login", 1),
        (403, "podman login", 1),
        (404, "Check the name docker://", 1),
        (413, "operator can raise the limit", 1),
        (429, "log in for a higher limit", 5),
        (500, "try later", 5),
        (502, "try later", 5),
        (503, "try later", 5),
        (504, "try later", 5),
        (307, "has no Location", 1),
        (600, "", 1),
    ] {
        let (error, script) = message(move || Reply::new(status, &[], body));
        assert!(error.contains(hint), "{status}: {error}");
        if status < 600 && status != 307 {
            assert!(
                error.contains(&format!("{status} ")) && error.contains(r"CODE: in \u{1b}[31mred\nwords"),
                "{error}"
            );
        }
        assert_eq!(script.requests().len(), tries, "{status}");
        assert_eq!(error.contains("given up after 5 tries"), tries > 1, "{error}");
    }
}

#[test]
fn waits_as_long_as_it_is_asked_to_but_not_for_ever() {
    let image = Image::new(1);
    let manifest = image.manifest.clone();
    let script = Script::start(move |_, count| match count {
        0 => Reply::new(429, &[("Retry-After", "99999999999999999999")], b""),
        1 => Reply::new(503, &[("Retry-After", "Fri, 31 Dec 2100 23:59:59 GMT")], b""),
        _ => Reply::new(200, &[MANIFEST], &manifest),
    });
    let retries = Retries::default();
    let registry = registry(Options { progress: Arc::new(retries.clone()), ..options() });
    assert_eq!(registry.source(&name(script.address)).resolve().unwrap().digest(), image.root().digest());
    let reasons: Vec<String> = retries.list().into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(
        reasons,
        ["the registry answers 429 Too Many Requests", "the registry answers 503 Service Unavailable"]
    );
}

#[test]
fn nobody_nothing_and_no_http() {
    let (error, script) = message(Reply::nothing);
    assert!(error.contains("closed without an answer") && error.contains("5 tries"), "{error}");
    assert_eq!(script.requests().len(), 5);
    let (error, _) = message(|| Reply(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()));
    assert!(error.contains("no HTTP") && error.contains("Is it a registry"), "{error}");
    let (error, _) = message(|| Reply::new(200, &[("X", &"x".repeat(100_000))], b"{}"));
    assert!(error.contains("a head of more than 32768 bytes"), "{error}");

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = registry(options()).source(&name(nobody)).resolve().unwrap_err().to_string();
    assert!(error.contains("refused: no server listens there") && error.contains("name and port"), "{error}");
    let error = registry(options()).source(&name("no-such-host.invalid")).resolve().unwrap_err().to_string();
    assert!(error.contains("no host no-such-host.invalid") && !error.contains("tries"), "{error}");
}

#[test]
fn a_registry_that_falls_silent_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options { idle_timeout: Duration::from_millis(100), retries: 0, ..options() };
    let error =
        registry(options).source(&name(silent.local_addr().unwrap())).resolve().unwrap_err().to_string();
    assert!(error.contains("nothing came for"), "{error}");
}

#[test]
fn manifests_that_are_none() {
    for (reply, hint) in [
        (Reply::new(200, &[MANIFEST], b"<html>"), "no JSON"),
        (
            Reply::new(
                200,
                &[("Content-Type", INDEX)],
                br#"{"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#,
            ),
            "itself says",
        ),
        (
            Reply::new(
                200,
                &[("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")],
                b"{}",
            ),
            "not known",
        ),
        (Reply::new(200, &[MANIFEST], &vec![b' '; 5 << 20]), "more than 4194304 bytes"),
        (Reply::new(200, &[MANIFEST, ("Content-Length", "99999999999999999999")], b"{}"), "no HTTP"),
    ] {
        let bytes = reply.0;
        let (error, script) = message(move || Reply(bytes.clone()));
        assert!(error.contains(hint), "{error}");
        assert_eq!(script.requests().len(), 1, "{hint}");
    }
    // Half of one is asked for again.
    let (error, script) = message(|| Reply::new(200, &[MANIFEST, ("Content-Length", "100")], b"{}"));
    assert!(error.contains("closed too early"), "{error}");
    assert_eq!(script.requests().len(), 5);
}

#[test]
fn an_error_without_end_is_cut_short() {
    let (error, _) = message(|| Reply::new(404, &[("Content-Length", "9999999999")], &vec![b'x'; 1 << 20]));
    assert!(error.contains("xxx..."), "{error}");
}

#[test]
fn bytes_with_another_digest_are_not_taken() {
    let image = Image::new(1000);
    let other = vec![0; 1000];
    let script = Script::start(move |request, _| match request.path.contains("manifests") {
        true => Reply::new(200, &[MANIFEST], br#"{"other": 1}"#),
        false => Reply::new(200, &[], &other),
    });
    let source = source(&script);
    let error = source.open(&image.root(), 0).err().unwrap().to_string();
    assert!(error.contains("another digest") && error.contains("/v2/a/b/manifests/sha256:"), "{error}");
    assert!(matches!(read_blob(&source, &image.layer_descriptor()), Err(StoreError::Corrupt { .. })));
}

/// A server that sends so much of a blob, honouring `Range` or not, and what reading it gave.
fn read_from(
    image: &Image,
    serve: fn(&[u8], Option<usize>) -> Reply,
) -> (Result<Vec<u8>, StoreError>, Script) {
    let layer = image.layer.clone();
    let script = Script::start(move |request, _| {
        let start =
            request.header("Range").map(|range| range["bytes=".len()..range.len() - 1].parse().unwrap());
        serve(&layer, start)
    });
    (read_blob(&source(&script), &image.layer_descriptor()), script)
}

/// The first half of the blob, or of what is missing.
fn half(layer: &[u8], start: usize, status: u16) -> Reply {
    let (rest, total) = (&layer[start..], layer.len());
    let range = format!("bytes {start}-{}/{total}", total - 1);
    let sent = &rest[..rest.len().div_ceil(2)];
    Reply::new(status, &[("Content-Length", &rest.len().to_string()), ("Content-Range", &range)], sent)
}

#[test]
fn half_a_blob_is_completed() {
    let image = Image::new(100_000);
    let (bytes, script) = read_from(&image, |layer, start| match start {
        None => half(layer, 0, 200),
        Some(start) => {
            Reply::new(206, &[("Content-Range", &format!("bytes {start}-99999/*"))], &layer[start..])
        }
    });
    assert!(bytes.unwrap() == image.layer);
    assert_eq!(script.requests()[1].header("Range"), Some("bytes=50000-"));

    // Who knows no ranges sends all of it again.
    let (bytes, script) = read_from(&image, |layer, start| match start {
        None => half(layer, 0, 200),
        Some(_) => Reply::new(200, &[], layer),
    });
    assert!(bytes.unwrap() == image.layer);
    assert_eq!(script.requests().len(), 2);
}

#[test]
fn half_a_blob_for_ever_is_an_error() {
    let image = Image::new(100_000);
    let (result, script) = read_from(&image, |layer, start| match start {
        None => half(layer, 0, 200),
        Some(start) => half(layer, start, 206),
    });
    let error = result.unwrap_err().to_string();
    assert!(error.contains("at byte 96875 of 100000") && error.contains("/v2/a/b/blobs/sha256:"), "{error}");
    assert_eq!(script.requests().len(), 5);

    let (result, _) = read_from(&image, |layer, start| match start {
        None => half(layer, 0, 200),
        Some(start) => Reply::new(
            206,
            &[("Content-Range", &format!("bytes {}-99999/100000", start + 1))],
            &layer[start..],
        ),
    });
    assert!(result.unwrap_err().to_string().contains("another part than that from byte 50000 on"));

    let (result, script) = read_from(&image, |layer, _| Reply::new(200, &[], &[layer, layer].concat()));
    assert!(result.unwrap_err().to_string().contains("200000 bytes for a blob of 100000 bytes"));
    assert_eq!(script.requests().len(), 1);
}

#[test]
fn a_redirection_is_followed_without_credentials() {
    let image = Image::new(1000);
    let layer = image.layer.clone();
    let store = Script::start(move |_, _| Reply::new(200, &[], &layer));
    let target = format!("http://{}/store/layer?signature=secret", store.address);
    let script = Script::start(move |request, _| match request.header("Authorization") {
        None => Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], b""),
        Some(_) => Reply::new(307, &[("Location", &target)], b""),
    });
    let registry = registry(Options { login: password("me", "secret"), ..options() });
    let bytes = read_blob(&registry.source(&name(script.address)), &image.layer_descriptor()).unwrap();
    assert!(bytes == image.layer);
    assert_eq!(script.requests()[1].header("Authorization"), Some("Basic bWU6c2VjcmV0"));
    assert_eq!(
        (store.lines(), store.requests()[0].header("Authorization")),
        (vec!["GET /store/layer?signature=secret".to_owned()], None)
    );
}

#[test]
fn a_question_from_elsewhere_gets_no_credentials() {
    let image = Image::new(1000);
    let evil = Script::start(|_, _| Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], b""));
    let target = format!("http://{}/", evil.address);
    let script = Script::start(move |_, _| Reply::new(302, &[("Location", &target)], b""));
    let registry = registry(Options { login: password("me", "secret"), ..options() });
    let source = registry.source(&name(script.address));
    let error = source.open(&image.layer_descriptor(), 0).err().unwrap().to_string();
    assert!(error.contains("401") && error.contains(&evil.address.to_string()), "{error}");
    assert!(error.contains("sends here") && !error.contains("docker login"), "{error}");
    assert!(evil.requests().iter().all(|request| request.header("Authorization").is_none()));
}

#[test]
fn locations_that_lead_nowhere() {
    for (location, hint) in [
        ("/v2/a/b/manifests/v1", "place to place"),
        ("file:///etc/passwd", "neither http nor https"),
        ("http://me:secret@127.0.0.1/", "user name"),
        ("http://", "no URL"),
        ("/with space", "no URL"),
        (&"x".repeat(9000), "9000 bytes"),
    ] {
        let location = location.to_owned();
        let (error, _) = message(move || Reply::new(302, &[("Location", &location)], b""));
        assert!(error.contains(hint) && !error.contains("secret"), "{error}");
    }
}

#[test]
fn strange_questions_for_credentials() {
    for header in [
        "",
        "Basic",
        ",,,=\"",
        "Negotiate",
        "Digest realm=\"x\", nonce=1",
        &"Basic ".repeat(4000),
        "Bearer \u{e9}",
    ] {
        let header = header.to_owned();
        let (error, script) = message(move || Reply::new(401, &[("WWW-Authenticate", &header)], b""));
        assert!(error.contains("docker login"), "{error}");
        assert_eq!(script.requests().len(), 1);
    }
    for (realm, hint) in [
        ("", "names no token service"),
        ("realm=\"ftp://x/\"", "neither http"),
        ("realm=\"http://\"", "no URL"),
    ] {
        let script = Script::start(move |_, _| {
            Reply::new(401, &[("WWW-Authenticate", &format!("Bearer {realm}"))], b"")
        });
        let error = source(&script).resolve().unwrap_err().to_string();
        assert!(error.contains(hint) && error.contains("get a token"), "{error}");
    }
}

#[test]
fn token_services_that_give_none() {
    for (status, body, hint) in [
        (200, b"{}".to_vec(), "no token that can be used"),
        (200, b"<html>".to_vec(), "no token that can be used"),
        (200, vec![b'x'; 300 << 10], "more than 262144 bytes"),
        (401, br#"{"details":"wrong password"}"#.to_vec(), "docker login"),
        (302, b"".to_vec(), "302 Found"),
    ] {
        let service =
            Script::start(move |_, _| Reply::new(status, &[("Location", "http://127.0.0.1:1/")], &body));
        let bearer = format!("Bearer realm=\"http://{}/token\"", service.address);
        let script = Script::start(move |_, _| Reply::new(401, &[("WWW-Authenticate", &bearer)], b""));
        let error = source(&script).resolve().unwrap_err().to_string();
        assert!(error.contains(hint) && error.contains("get a token"), "{error}");
        assert_eq!((script.requests().len(), service.requests().len()), (1, 1));
    }
    // One that always gives a token which is not enough is asked once a request.
    let service = Script::start(|_, _| Reply::new(200, &[], br#"{"token":"t"}"#));
    let bearer = format!("Bearer realm=\"http://{}/token\"", service.address);
    let script = Script::start(move |_, _| Reply::new(401, &[("WWW-Authenticate", &bearer)], b""));
    assert!(source(&script).resolve().unwrap_err().to_string().contains("401"));
    assert_eq!((script.requests().len(), service.requests().len()), (2, 1));
}

/// A page of two referrers, by number.
fn page(number: usize) -> Vec<u8> {
    let one = |kind: &str| {
        let mut one =
            serde_json::to_value(descriptor(MediaType::ImageManifest, format!("{number}{kind}").as_bytes()))
                .unwrap();
        one["artifactType"] = kind.into();
        one
    };
    serde_json::to_vec(
        &serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [one("t/a"), one("t/b")]}),
    )
    .unwrap()
}

#[test]
fn referrers_come_in_pages() {
    let script = Script::start(|request, count| {
        let link = [("Link", r#"</v2/a/b/referrers/next?n=2>; rel="next""#)];
        Reply::new(200, if request.path.contains("next") { &[] } else { &link }, &page(count))
    });
    let subject = Sha256Digest::of(b"x");
    assert_eq!(source(&script).referrers(subject).unwrap().len(), 4);
    // This one does not filter although it was asked to.
    assert_eq!(source(&script).referrers_of_type(subject, "t/b").unwrap().len(), 2);
    assert_eq!(script.lines()[2], format!("GET /v2/a/b/referrers/{subject}?artifactType=t%2Fb"));
}

#[test]
fn lists_of_referrers_without_end_or_elsewhere() {
    for (link, body, hint) in [
        ("</v2/a/b/referrers/again>; rel=next", page(1), "more than 64 pages"),
        ("<http://127.0.0.1:1/>; rel=next", page(1), "at another server"),
        ("<file:///etc/passwd>; rel=next", page(1), "neither http"),
        ("", b"<html>".to_vec(), "no index"),
        ("", br#"{"manifests":[{"digest":"../../x"}]}"#.to_vec(), "no index"),
    ] {
        let script = Script::start(move |_, _| Reply::new(200, &[("Link", link)], &body));
        let error = source(&script).referrers(Sha256Digest::of(b"x")).unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
    }
}

/// An artifact with a subject, and its descriptor.
fn artifact(subject: Sha256Digest) -> (Vec<u8>, oci_spec::image::Descriptor) {
    let subject = serde_json::json!({"mediaType": MANIFEST.1, "digest": subject.to_string(), "size": 1});
    let document =
        serde_json::to_vec(&serde_json::json!({"mediaType": MANIFEST.1, "subject": subject})).unwrap();
    let descriptor = descriptor(MediaType::ImageManifest, &document);
    (document, descriptor)
}

#[test]
fn a_registry_that_lists_referrers_needs_no_tag() {
    let subject = Sha256Digest::of(b"x");
    let script = Script::start(move |_, _| Reply::new(201, &[("OCI-Subject", &subject.to_string())], b""));
    let (document, descriptor) = artifact(subject);
    let mut sink = registry(options()).sink(&name(script.address));
    sink.put_referrer(subject, &descriptor, &document).unwrap();
    assert_eq!(script.lines(), [format!("PUT /v2/a/b/manifests/{}", descriptor.digest())]);
}

#[test]
fn a_list_that_somebody_else_changes_meanwhile_is_read_again() {
    let subject = Sha256Digest::of(b"x");
    let script = Script::start(move |request, count| match (request.method.as_str(), count) {
        ("GET", _) => {
            Reply::new(200, &[("Content-Type", INDEX), ("ETag", &format!("\"{count}\""))], &page(count))
        }
        ("PUT", 2) => Reply::status(412),
        _ => Reply::status(201),
    });
    let (document, descriptor) = artifact(subject);
    registry(options()).sink(&name(script.address)).put_referrer(subject, &descriptor, &document).unwrap();
    let requests = script.requests();
    let conditions: Vec<_> =
        requests.iter().map(|request| (request.method.as_str(), request.header("If-Match"))).collect();
    assert_eq!(
        conditions,
        [("PUT", None), ("GET", None), ("PUT", Some("\"1\"")), ("GET", None), ("PUT", Some("\"3\""))]
    );
    assert!(requests[4].body.windows(6).any(|six| six == b"\"size\""));
}

/// Puts a layer, with these answers to what follows the POST.
fn upload(size: usize, answer: fn(&Request) -> Reply) -> (Result<(), StoreError>, Script) {
    let image = Image::new(size);
    let script = Script::start(move |request, _| match request.method.as_str() {
        "HEAD" => Reply::status(404),
        "POST" => Reply::new(202, &[("Location", "../uploads/session?_state=a%2Fb")], b""),
        _ => answer(request),
    });
    let mut sink = registry(options()).sink(&name(script.address));
    (sink.put_blob(&image.layer_descriptor(), &image.layer), script)
}

#[test]
fn a_registry_without_patch_gets_the_layer_at_once() {
    let (result, script) =
        upload(100_000, |request| Reply::status(if request.method == "PATCH" { 405 } else { 201 }));
    result.unwrap();
    let requests = script.requests();
    let methods: Vec<&str> = requests.iter().map(|request| request.method.as_str()).collect();
    assert_eq!(methods, ["POST", "PATCH", "POST", "PUT"]);
    assert!(requests[3].body.len() == 100_000 && requests[3].path.contains("?_state=a%2Fb&digest=sha256%3A"));
}

#[test]
fn a_registry_that_takes_a_part_gets_the_rest() {
    let (result, script) =
        upload(100_000, |request| match (request.method.as_str(), request.header("Content-Range")) {
            ("PATCH", Some("0-99999")) => {
                Reply::new(202, &[("Location", "/up/2"), ("Range", "0-59999")], b"")
            }
            ("PATCH", Some("60000-99999")) => {
                Reply::new(202, &[("Location", "/up/3?x"), ("Range", "0-99999")], b"")
            }
            ("PUT", None) => Reply::status(201),
            _ => Reply::status(500),
        });
    result.unwrap();
    let requests = script.requests();
    assert_eq!((requests[2].path.as_str(), requests[2].body.len()), ("/up/2", 40_000));
    assert!(requests[3].path.starts_with("/up/3?x&digest=sha256%3A"));
}

#[test]
fn a_registry_that_lost_what_it_said_it_had_gets_the_layer_anew() {
    let (result, script) =
        upload(100_000, |request| match (request.method.as_str(), request.header("Content-Range")) {
            ("PATCH", Some("0-99999")) if request.path.contains("_state=a") => Reply::nothing(),
            ("GET", _) => Reply::new(204, &[("Location", "/resumed"), ("Range", "0-49999")], b""),
            ("PATCH", Some("50000-99999")) => {
                Reply::new(202, &[("Location", "/resumed"), ("Range", "0-99999")], b"")
            }
            ("PUT", _) => Reply::new(400, &[], br#"{"errors":[{"code":"DIGEST_INVALID"}]}"#),
            _ => Reply::status(500),
        });
    assert!(result.unwrap_err().to_string().contains("given up after"));
    let posts = script.lines().iter().filter(|line| line.starts_with("POST")).count();
    assert!(posts >= 2, "{:?}", script.lines());
}

#[test]
fn a_token_that_expires_costs_no_upload() {
    let service =
        Script::start(|_, count| Reply::new(200, &[], format!(r#"{{"token":"t{count}"}}"#).as_bytes()));
    let bearer = format!("Bearer realm=\"http://{}/token\"", service.address);
    let refuse = |request: &Request| {
        let old = request.method == "PATCH" && request.header("Authorization") == Some("Bearer t0");
        old.then(|| Reply::new(401, &[("WWW-Authenticate", "Bearer realm=\"/token\"")], b""))
    };
    let script = Script::refusing(refuse, move |request, count| {
        match (request.header("Authorization"), request.method.as_str()) {
            _ if request.path.starts_with("/token") => Reply::new(200, &[], br#"{"token":"new"}"#),
            (None, _) => Reply::new(401, &[("WWW-Authenticate", &bearer)], b""),
            (_, "POST") => Reply::new(202, &[("Location", &format!("/up/{count}"))], b""),
            (_, "PATCH") => Reply::status(202),
            _ => Reply::status(201),
        }
    });
    let image = Image::new(8 << 20);
    registry(options())
        .sink(&name(script.address))
        .put_blob(&image.layer_descriptor(), &image.layer)
        .unwrap();
    let sent: Vec<(String, usize)> =
        script.requests().into_iter().map(|one| (one.method, one.body.len())).collect();
    let sent: Vec<(&str, usize)> = sent.iter().map(|(method, size)| (method.as_str(), *size)).collect();
    assert_eq!(sent, [("POST", 0), ("POST", 0), ("PATCH", 0), ("GET", 0), ("PATCH", 8 << 20), ("PUT", 0)]);
}

#[test]
fn strange_answers_to_an_upload() {
    for (answer, hint) in [
        (
            (|_| Reply::new(202, &[("Range", "0-999999")], b"")) as fn(&Request) -> Reply,
            "1000000 bytes of a blob of 100000",
        ),
        (|_| Reply::new(202, &[("Range", "0-0")], b""), "taken nothing from byte 0 on"),
        (|_| Reply::new(202, &[("Location", "gopher://x/")], b""), "neither http nor https"),
        (|_| Reply::status(413), "operator can raise the limit"),
        (|_| Reply::status(404), "Check the name"),
        (|_| Reply::status(307), "307 Temporary Redirect"),
        (|_| Reply::status(500), "given up after 5 tries"),
        (|_| Reply::nothing(), "given up after 5 tries"),
    ] {
        let (result, script) = upload(100_000, answer);
        let error = result.unwrap_err().to_string();
        assert!(error.contains(hint) && error.contains("/v2/a/b/blobs/uploads/session"), "{error}");
        assert!(!error.contains("_state") && script.requests().len() < 30, "{error}");
    }
    let script = Script::start(|_, _| Reply::status(202));
    let error = registry(options())
        .sink(&name(script.address))
        .put_blob(&descriptor(MediaType::ImageLayer, b"x"), &b"x".to_vec());
    assert!(error.unwrap_err().to_string().contains("has no Location"));
}

#[test]
fn an_upload_elsewhere_carries_no_credentials() {
    let store = Script::start(|_, _| Reply::status(201));
    let target = format!("http://{}/up?signature=x", store.address);
    let script = Script::start(move |request, _| match request.header("Authorization") {
        None => Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], b""),
        Some(_) => Reply::new(202, &[("Location", &target)], b""),
    });
    let registry = registry(Options { login: password("me", "secret"), ..options() });
    registry
        .sink(&name(script.address))
        .put_blob(&descriptor(MediaType::ImageLayer, b"x"), &b"x".to_vec())
        .unwrap();
    assert!(store.lines()[0].starts_with("PUT /up?signature=x&digest=sha256%3A"));
    assert_eq!(store.requests()[0].header("Authorization"), None);
}

#[test]
fn a_registry_that_stores_something_else_is_found_out() {
    let script = Script::start(|_, _| {
        Reply::new(201, &[("Docker-Content-Digest", &Sha256Digest::of(b"y").to_string())], b"")
    });
    let image = Image::new(1);
    let sink = Box::new(registry(options()).sink(&name(script.address)));
    let error = sink.finish(&image.root(), &image.manifest).unwrap_err().to_string();
    assert!(error.contains("stored something else"), "{error}");
}

#[test]
fn a_reader_that_wants_nothing_gets_nothing() {
    let image = Image::new(1000);
    let layer = image.layer.clone();
    let script = Script::start(move |_, _| Reply::new(200, &[], &layer));
    let source = source(&script);
    let mut reader = source.open(&image.layer_descriptor(), 0).unwrap();
    assert_eq!(reader.read(&mut []).unwrap(), 0);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!((bytes.len(), reader.read(&mut [0; 10]).unwrap()), (1000, 0));
}
