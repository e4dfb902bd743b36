//! Layers, and the files in them.

use micrun_image_spec::{BOOT_IMAGE_PATH, CLIENT_CONF_PATH, FIRMWARE_PATH};
use oci_spec::image::Descriptor;

use super::{add, report_store_error};
use crate::check::{Code, Report};
use crate::rootfs::{LayerProblem, Node, Problem, RootFs};
use crate::store::copy::verify;
use crate::store::graph::Graph;
use crate::store::{Source, digest_of};

/// Files that are named as not belonging there.
const MAX_NAMED: usize = 5;

/// Reports what is wrong with the layers, and what else is in them.
pub(super) fn check(
    root: &RootFs<'_>,
    layers: &[Descriptor],
    part: &dyn Fn(&str) -> String,
    report: &mut Report,
) {
    for problem in root.problems() {
        report_problem(problem, &part(&format!("layer {}", problem.layer)), report);
    }
    if layers.len() > 1 {
        let message = format!("the image has {} layers", layers.len());
        let remedy = "nothing: it runs; what an upper layer deletes is still downloaded";
        add(report, &part("manifest"), Code::SeveralLayers, None, message, remedy);
    }
    let foreign = |path: &str| ![FIRMWARE_PATH, CLIENT_CONF_PATH, BOOT_IMAGE_PATH].contains(&path);
    let files = root.entries().filter(|(path, entry)| entry.node != Node::Directory && foreign(path));
    let (mut named, mut count) = (Vec::new(), 0usize);
    for (path, _) in files {
        count += 1;
        if named.len() < MAX_NAMED {
            named.push(path);
        }
    }
    if count > 0 {
        let more =
            if count > named.len() { format!(" and {} more", count - named.len()) } else { String::new() };
        let message = format!("the image also holds {}{more}", named.join(", "));
        let remedy = "nothing, if client.conf names them; else leave them out: every node downloads them";
        add(report, &part("layers"), Code::ForeignFiles, None, message, remedy);
    }
}

/// Reports what is wrong with a layer.
pub(crate) fn report_problem(problem: &LayerProblem, part: &str, report: &mut Report) {
    const AGAIN: &str = "copy or pull the image again";
    const REMAKE: &str = "make the image again";
    let (code, remedy) = match &problem.problem {
        Problem::Store(error) => return report_store_error(part, error, report),
        Problem::Digest { .. } => (Code::BlobDamaged, AGAIN),
        Problem::DiffId { .. } => (Code::DiffIdMismatch, "make the image again: containerd refuses it"),
        Problem::MediaType(_) => (Code::UnknownMediaType, "make the image again with another compression"),
        Problem::Spool { .. } => (Code::LayerUnreadable, "make room there, or set TMPDIR"),
        Problem::Unpack(_) | Problem::Vanished => (Code::LayerUnreadable, REMAKE),
        Problem::TooMuch(_) => (Code::LayerTooLarge, "leave out of the image what is no firmware"),
        Problem::Outside(_) => {
            (Code::PathOutside, "make the image again; engines refuse or misplace such files")
        }
        Problem::DanglingLink { .. } => (Code::DanglingHardLink, REMAKE),
    };
    add(report, part, code, None, problem.problem.to_string(), remedy);
}

/// Reads what refers to the image, signatures and bills of materials, as far as it is there.
pub(super) fn check_referrers(source: &dyn Source, root: &Descriptor, report: &mut Report) {
    let referrers = match digest_of(root).and_then(|digest| source.referrers(digest)) {
        Ok(referrers) => referrers,
        Err(error) => return report_store_error("referrers", &error, report),
    };
    for referrer in referrers {
        let part = format!("referrer {}", referrer.digest());
        let blobs = match Graph::walk(source, &referrer) {
            Ok(graph) => graph.blobs,
            Err(error) => {
                report_store_error(&part, &error, report);
                continue;
            }
        };
        for blob in blobs {
            if let Err(error) = verify(source, &blob) {
                report_store_error(&part, &error, report);
            }
        }
    }
}
