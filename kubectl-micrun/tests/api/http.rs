//! The protocol: discovery, objects, patches, watches.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{KINDS, World};

pub fn serve(listener: &TcpListener, world: &Arc<Mutex<World>>, gone: &Arc<AtomicBool>) {
    for stream in listener.incoming() {
        let (world, gone) = (Arc::clone(world), Arc::clone(gone));
        thread::spawn(move || {
            // A client that hangs up has got what it wanted.
            let _ = stream.and_then(|stream| converse(stream, &world, &gone));
        });
    }
}

struct Request {
    method: String,
    path: String,
    query: String,
    kind: String,
    body: Vec<u8>,
}

fn converse(stream: TcpStream, world: &Mutex<World>, gone: &AtomicBool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(request) = read(&mut reader)? {
        if gone.load(Ordering::SeqCst) {
            return Ok(());
        }
        if request.query.contains("watch=") {
            return watch(&mut stream, &request, world, gone);
        }
        let (status, body) = answer(&request, world, gone);
        if gone.load(Ordering::SeqCst) {
            return Ok(());
        }
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes())?;
    }
    Ok(())
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.trim_matches('/').to_owned(), query.to_owned());
    let (mut length, mut kind) = (0, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "content-type" => value.trim().clone_into(&mut kind),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, query, kind, body }))
}

/// A resource, and one object of it where one is named.
fn place(path: &str) -> Option<(&'static str, Option<String>)> {
    let (_, resource, rest) = KINDS.iter().find_map(|(group, resource, _, namespaced)| {
        let prefix = if *namespaced {
            format!("{group}/namespaces/default/{resource}")
        } else {
            format!("{group}/{resource}")
        };
        let rest = path.strip_prefix(&prefix)?;
        (rest.is_empty() || rest.starts_with('/'))
            .then(|| (group, *resource, rest.trim_matches('/').to_owned()))
    })?;
    Some((resource, (!rest.is_empty()).then_some(rest)))
}

fn no(code: u64, reason: &str, message: &str) -> (u64, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
    });
    (code, status)
}

fn answer(request: &Request, world: &Mutex<World>, gone: &AtomicBool) -> (u64, Value) {
    if let Some(document) = discovery(&request.path) {
        return (200, document);
    }
    let Some((resource, name)) = place(&request.path) else { return no(404, "NotFound", &request.path) };
    let mut world = world.lock().unwrap();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let target = name.clone().or_else(|| Some(body["metadata"]["name"].as_str()?.to_owned()));
    let write = format!("{} {resource}/{}", request.method, target.clone().unwrap_or_default());
    let dry = request.query.contains("dryRun=All");
    if request.method != "GET" && !dry {
        world.log.push(write.clone());
        if world.fail.as_ref().is_some_and(|fail| write.starts_with(fail)) {
            return no(500, "InternalError", "the API cannot do this now");
        }
        if world.vanish.as_ref().is_some_and(|vanish| write.starts_with(vanish)) {
            gone.store(true, Ordering::SeqCst);
        }
    }
    let old = target.as_ref().and_then(|name| world.get(resource, name)).cloned();
    let missing =
        || no(404, "NotFound", &format!("{resource} {:?} not found", target.clone().unwrap_or_default()));
    match (request.method.as_str(), &name, old) {
        ("GET", Some(_), Some(object)) => (200, object),
        ("GET", None, _) => (200, list(&world, resource, &request.query)),
        ("POST", None, Some(_)) => no(409, "AlreadyExists", &format!("{resource} already exists")),
        ("POST", None, None) => (201, if dry { body } else { world.put(resource, body) }),
        ("PATCH", Some(_), Some(mut object)) => {
            if request.kind.starts_with("application/json-patch") {
                for step in body.as_array().unwrap() {
                    *object.pointer_mut(step["path"].as_str().unwrap()).unwrap() = step["value"].clone();
                }
            } else {
                merge(&mut object, &body);
            }
            (200, if dry { object } else { world.put(resource, object) })
        }
        ("DELETE", Some(name), Some(_)) => {
            world.remove(resource, name);
            (200, json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }))
        }
        _ => missing(),
    }
}

/// A strategic merge patch, as far as kubectl makes some here: objects are merged, and lists by their elements' names.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if patch.get("$patch").is_some_and(|what| what == "replace") || !object.is_object() {
        *object = json!({});
    }
    for (key, value) in patch {
        if key.starts_with('$') {
            continue;
        }
        match (value, &mut object[key]) {
            (Value::Null, _) => {
                object.as_object_mut().unwrap().remove(key);
            }
            (Value::Array(new), Value::Array(old))
                if new.iter().all(|element| element["name"].is_string()) =>
            {
                for element in new {
                    match old.iter_mut().find(|old| old["name"] == element["name"]) {
                        Some(old) => merge(old, element),
                        None => old.push(element.clone()),
                    }
                }
            }
            (_, old) => merge(old, value),
        }
    }
}

fn list(world: &World, resource: &str, query: &str) -> Value {
    let items: Vec<Value> =
        world.all(resource).into_iter().filter(|object| selected(object, query)).collect();
    let (group, _, kind, _) = KINDS.iter().find(|(_, name, ..)| *name == resource).unwrap();
    let group = group.trim_start_matches("apis/").trim_start_matches("api/");
    json!({
        "kind": format!("{kind}List"), "apiVersion": group,
        "metadata": { "resourceVersion": world.version.to_string() }, "items": items,
    })
}

/// Label selectors of the form `a=b,c=d`, and the field `metadata.name`.
fn selected(object: &Value, query: &str) -> bool {
    query.split('&').filter_map(|pair| pair.split_once('=')).all(|(key, value)| {
        let value = value.replace("%3D", "=").replace("%2C", ",").replace("%2F", "/");
        let mut pairs = value.split(',').filter_map(|pair| pair.split_once('='));
        match key {
            "labelSelector" => pairs.all(|(label, value)| object["metadata"]["labels"][label] == value),
            "fieldSelector" => {
                pairs.all(|(field, value)| field != "metadata.name" || object["metadata"]["name"] == value)
            }
            _ => true,
        }
    })
}

fn watch(
    stream: &mut TcpStream,
    request: &Request,
    world: &Mutex<World>,
    gone: &AtomicBool,
) -> std::io::Result<()> {
    if request.query.contains("sendInitialEvents=true") {
        // Older servers refuse this form, and clients list first.
        let (_, body) = no(422, "Invalid", "sendInitialEvents is forbidden");
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 422 No\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        return stream.write_all((head + &body).as_bytes());
    }
    let Some((resource, _)) = place(&request.path) else { return Ok(()) };
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    let from = request.query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
    let mut seen: u64 = from.and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut present: Vec<Value> = Vec::new();
    while !gone.load(Ordering::SeqCst) {
        let now = list(&world.lock().unwrap(), resource, &request.query);
        let now = now["items"].as_array().cloned().unwrap_or_default();
        let name = |object: &Value| object["metadata"]["name"].clone();
        let version =
            |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
        let changed = now.iter().filter(|object| version(object) > seen).map(|object| ("MODIFIED", object));
        let lost = present.iter().filter(|old| !now.iter().any(|new| name(new) == name(old)));
        for (what, object) in changed.chain(lost.map(|object| ("DELETED", object))) {
            let event = json!({ "type": what, "object": object }).to_string() + "\n";
            stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?;
        }
        seen = now.iter().map(version).max().unwrap_or(0).max(seen);
        present = now;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn discovery(path: &str) -> Option<Value> {
    let group = |name: &str| {
        let version = json!({ "groupVersion": format!("{name}/v1"), "version": "v1" });
        json!({ "name": name, "versions": [version], "preferredVersion": version })
    };
    Some(match path {
        "version" => json!({ "major": "1", "minor": "36", "gitVersion": "v1.36.0" }),
        "api" => json!({ "kind": "APIVersions", "versions": ["v1"] }),
        "apis" => {
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group("apps"), group("node.k8s.io")] })
        }
        "openapi/v3" => {
            let paths = ["api/v1", "apis/apps/v1", "apis/node.k8s.io/v1"];
            let paths = paths
                .map(|path| (path.to_owned(), json!({ "serverRelativeURL": format!("/openapi/v3/{path}") })));
            json!({ "paths": serde_json::Map::from_iter(paths) })
        }
        path if path.starts_with("openapi/v3/") => open_api(path.trim_start_matches("openapi/v3/")),
        path if KINDS.iter().any(|(group, ..)| *group == path) => {
            let verbs = ["create", "delete", "get", "list", "patch", "watch"];
            let of_group = KINDS.iter().filter(|(group, ..)| *group == path);
            let resources = of_group.map(|(_, name, kind, namespaced)| {
                let single = kind.to_lowercase();
                json!({ "name": name, "singularName": single, "kind": kind, "namespaced": namespaced, "verbs": verbs })
            });
            let version = path.trim_start_matches("apis/").trim_start_matches("api/");
            let resources: Vec<Value> = resources.collect();
            json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources })
        }
        _ => return None,
    })
}

/// That the server itself checks fields: else kubectl would want to know all of them.
fn open_api(path: &str) -> Value {
    let paths = KINDS.iter().filter(|(group, ..)| *group == path).map(|(group, resource, kind, _)| {
        let version = group.trim_start_matches("apis/").trim_start_matches("api/");
        let (name, version) = version.split_once('/').unwrap_or(("", version));
        let patch = json!({
            "parameters": [{ "name": "fieldValidation", "in": "query" }],
            "responses": {},
            "x-kubernetes-group-version-kind": { "group": name, "version": version, "kind": kind },
        });
        (format!("/{group}/namespaces/{{namespace}}/{resource}/{{name}}"), json!({ "patch": patch }))
    });
    json!({ "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": "v1.36.0" }, "paths": serde_json::Map::from_iter(paths) })
}
