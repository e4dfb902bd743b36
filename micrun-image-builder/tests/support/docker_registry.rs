//! Debian's docker-registry on a port of its own, and a few requests to it.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use micrun_image_builder::store::{Data, Sink, Source, StoreError, is_document};
use micrun_image_spec::digest::Sha256Digest;
use micrun_testkit::{Unpacked, Workspace};
use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::signing::describe;

/// A registry that ends with the test, and everything in it.
pub struct DockerRegistry {
    process: Child,
    address: String,
    _storage: TempDir,
}

impl DockerRegistry {
    /// Starts one on a free port, which it chooses itself.
    pub fn start() -> Self {
        let storage = tempfile::tempdir().unwrap();
        let config = storage.path().join("config.yml");
        let data = storage.path().join("data");
        let settings = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
            data.display()
        );
        std::fs::write(&config, settings).unwrap();
        // Unpacked, since installing it would start a daemon that nobody asked for.
        let package = Unpacked::own(&Workspace::find().unwrap(), "docker-registry");
        let program = package.and_then(|package| package.program("docker-registry"));
        let mut process = Command::new(program.unwrap_or_else(|error| panic!("{error:#}")))
            .arg("serve")
            .arg(&config)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = log.by_ref().map_while(Result::ok).find_map(|line| {
            let rest = line.split_once("listening on ")?.1;
            Some(rest.split(['"', ' ', ',']).next()?.to_owned())
        });
        let address = address.expect("docker-registry ended without listening");
        // It stops when nobody reads its log.
        std::thread::spawn(move || log.for_each(drop));
        DockerRegistry { process, address, _storage: storage }
    }

    /// One of its repositories, and a tag in it.
    pub fn repository(&self, name: &str) -> Repository {
        Repository { address: self.address.clone(), name: name.to_owned() }
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A repository with an image under the tag `latest`.
#[derive(Clone)]
pub struct Repository {
    address: String,
    name: String,
}

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";

impl Repository {
    /// `127.0.0.1:PORT/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.address, self.name)
    }

    /// Overwrites what a tag stands for.
    pub fn put_manifest(&self, reference: &str, media_type: &str, document: &[u8]) {
        let target = format!("/v2/{}/manifests/{reference}", self.name);
        let (status, _, body) = self.request("PUT", &target, media_type, document);
        assert_eq!(status, 201, "{target}: {}", String::from_utf8_lossy(&body));
    }

    fn manifest(&self, reference: &str) -> Option<(Descriptor, Vec<u8>)> {
        let target = format!("/v2/{}/manifests/{reference}", self.name);
        let (status, headers, body) = self.request("GET", &target, "", &[]);
        let media_type = header(&headers, "content-type").unwrap_or_default();
        (status == 200).then(|| (describe(MediaType::from(media_type), &body), body))
    }

    /// HTTP/1.0: the answer ends with the connection, and is in one piece.
    fn request(&self, method: &str, target: &str, media_type: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {target} HTTP/1.0\r\nHost: {}\r\nAccept: {ACCEPT}\r\nContent-Type: {media_type}\r\n\
             Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(body).unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let headers = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        (status, headers, answer[end + 4..].to_vec())
    }
}

fn header<'a>(headers: &'a str, name: &str) -> Option<&'a str> {
    headers.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

impl Source for Repository {
    fn resolve(&self) -> Result<Descriptor, StoreError> {
        Ok(self.manifest("latest").unwrap().0)
    }

    fn open(&self, descriptor: &Descriptor, _: u64) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        let digest = descriptor.digest();
        let kind = if is_document(descriptor.media_type()) { "manifests" } else { "blobs" };
        let (status, _, body) = self.request("GET", &format!("/v2/{}/{kind}/{digest}", self.name), "", &[]);
        match status {
            200 => Ok(Box::new(std::io::Cursor::new(body))),
            other => Err(StoreError::NotFound(format!("{digest}: {other}"))),
        }
    }

    /// This registry has no referrers API: the tag scheme takes its place.
    fn referrers(&self, subject: Sha256Digest) -> Result<Vec<Descriptor>, StoreError> {
        let Some((_, index)) = self.manifest(&format!("sha256-{}", subject.hex())) else {
            return Ok(Vec::new());
        };
        let index: Value = serde_json::from_slice(&index).unwrap();
        Ok(serde_json::from_value(index["manifests"].clone()).unwrap())
    }

    fn tag(&self, tag: &str) -> Result<Option<Descriptor>, StoreError> {
        Ok(self.manifest(tag).map(|(descriptor, _)| descriptor))
    }
}

impl Sink for Repository {
    fn has_blob(&mut self, _: &Descriptor) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn put_blob(&mut self, blob: &Descriptor, data: &dyn Data) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        data.open(0)?.read_to_end(&mut bytes).unwrap();
        let (_, headers, _) = self.request("POST", &format!("/v2/{}/blobs/uploads/", self.name), "", &[]);
        let location = header(&headers, "location").unwrap();
        let target = location.split_once(&self.address).map_or(location, |(_, target)| target);
        let target = format!("{target}&digest={}", blob.digest());
        assert_eq!(self.request("PUT", &target, "application/octet-stream", &bytes).0, 201);
        Ok(())
    }

    fn put_document(&mut self, descriptor: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        self.put_manifest(descriptor.digest().as_ref(), descriptor.media_type().as_ref(), document);
        Ok(())
    }

    fn put_referrer(
        &mut self,
        subject: Sha256Digest,
        descriptor: &Descriptor,
        document: &[u8],
    ) -> Result<(), StoreError> {
        self.put_document(descriptor, document)?;
        let mut manifests = self.referrers(subject)?;
        manifests.push(descriptor.clone());
        let index = MediaType::ImageIndex.to_string();
        let list = json!({"schemaVersion": 2, "mediaType": index, "manifests": manifests}).to_string();
        self.put_manifest(&format!("sha256-{}", subject.hex()), &index, list.as_bytes());
        Ok(())
    }

    fn put_tag(&mut self, tag: &str, descriptor: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        self.put_manifest(tag, descriptor.media_type().as_ref(), document);
        Ok(())
    }

    fn finish(self: Box<Self>, root: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        self.put_manifest("latest", root.media_type().as_ref(), document);
        Ok(())
    }
}
