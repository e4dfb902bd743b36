//! `load`.

use std::path::PathBuf;

use clap::Args;

use super::Printing;
use super::registry::RegistryArgs;
use crate::containerd::{DEFAULT_ADDRESS, Namespace};
use crate::image::Reference;
use crate::store::Location;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LoadArgs {
    /// The image: docker://NAME[:TAG][@DIGEST], oci-archive:FILE[:TAG], oci:DIR[:TAG], or the path of an archive or layout
    image: Location,
    /// containerd's namespace; Kubernetes uses k8s.io
    #[arg(short, long, value_name = "NAMESPACE", default_value_t)]
    namespace: Namespace,
    /// containerd's socket
    #[arg(short, long, value_name = "SOCKET", default_value = DEFAULT_ADDRESS)]
    address: PathBuf,
    /// Name of the image there [default: the name that it has where it is]
    #[arg(long, value_name = "NAME[:TAG]")]
    name: Option<Reference>,
    /// Load what refers to the image too: signatures, bills of materials, debug information
    #[arg(long)]
    referrers: bool,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    registry: RegistryArgs,
}

const EXAMPLES: &str = "\
Examples:
  micrun-image-builder load zephyr.oci.tar
  micrun-image-builder load oci:images:v1 --namespace k8s.io
  micrun-image-builder load zephyr.oci.tar --address /run/k3s/containerd/containerd.sock
  micrun-image-builder load zephyr.oci.tar --name demo/zephyr:2

What containerd has already is not sent again. Nothing is unpacked: that happens when the first container is made.";

#[cfg(not(unix))]
pub(super) fn run(_args: &LoadArgs) -> Result<std::process::ExitCode, super::CliError> {
    Err(super::CliError::Usage(
        "containerd is reached by a Unix socket, which this system does not have: copy the archive to the node, and \
         import it there with: ctr image import FILE"
            .to_owned(),
    ))
}

#[cfg(unix)]
pub(super) use unix::run;

#[cfg(unix)]
mod unix {
    use std::io::{self, Write as _};
    use std::process::ExitCode;

    use oci_spec::image::Descriptor;
    use serde::Serialize;

    use super::super::places::Places;
    use super::super::render::printable;
    use super::super::{CliError, Format, print_json};
    use super::LoadArgs;
    use crate::containerd::ContainerdSink;
    use crate::image::Reference;
    use crate::store::Location;
    use crate::store::copy::copy;
    use crate::store::layout::ImageName;

    /// The result of `load`.
    #[derive(Serialize)]
    struct Summary {
        source: String,
        name: String,
        /// A container id that fits.
        container: String,
        namespace: String,
        digest: String,
        blobs_copied: usize,
        bytes_copied: u64,
        blobs_present: usize,
        referrers: usize,
    }

    pub(in super::super) fn run(args: &LoadArgs) -> Result<ExitCode, CliError> {
        let places = Places::new(&args.registry, args.printing.quiet);
        let source = places.source(&args.image)?;
        let root = source.resolve()?;
        let name = match &args.name {
            Some(name) => name.clone(),
            None => name_of(&args.image, &root)?,
        };
        let sink = ContainerdSink::connect(&args.address, &args.namespace, name.clone())?;
        warn_of_new_namespace(args, &sink)?;
        let copied = copy(source.as_ref(), Box::new(sink), &root, args.referrers, places.progress())?;
        let summary = Summary {
            source: args.image.to_string(),
            name: name.to_string(),
            container: name.container_id(),
            namespace: args.namespace.to_string(),
            digest: root.digest().to_string(),
            blobs_copied: copied.blobs,
            bytes_copied: copied.bytes,
            blobs_present: copied.present,
            referrers: copied.referrers,
        };
        match args.printing.format {
            Format::Json => print_json(&summary)?,
            Format::Text if !args.printing.quiet => print_text(&summary)?,
            Format::Text => {}
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The name that the image has where it is, if it is a full one.
    fn name_of(place: &Location, root: &Descriptor) -> Result<Reference, CliError> {
        let name = match place {
            Location::Registry(name) => name.reference().cloned(),
            _ => ImageName::of(root).full.and_then(|full| full.parse().ok()),
        };
        name.ok_or_else(|| {
            CliError::Usage(
                "the image has no full name where it is: give one with --name NAME[:TAG]".to_owned(),
            )
        })
    }

    /// A namespace comes into being by being used, so a wrong one is no error, but nobody would find the image.
    fn warn_of_new_namespace(args: &LoadArgs, sink: &ContainerdSink) -> Result<(), CliError> {
        let known = sink.namespaces()?;
        if !args.printing.quiet && !known.iter().any(|known| known == args.namespace.as_str()) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            writeln!(
                io::stderr(),
                "note: the namespace {} is new in this containerd, which has: {}",
                args.namespace,
                printable(&known)
            )?;
        }
        Ok(())
    }

    fn print_text(summary: &Summary) -> io::Result<()> {
        let Summary { source, name, namespace, digest, blobs_copied, bytes_copied, blobs_present, .. } =
            summary;
        let referrers = match summary.referrers {
            0 => String::new(),
            n => format!(", with {n} that refer to it"),
        };
        writeln!(
            io::stdout(),
            "loaded {} into the namespace {namespace} as {name}{referrers}\n  digest    {digest}\n  blobs     {blobs_copied} sent \
             ({bytes_copied} bytes), {blobs_present} were there already\nrun it:\n  ctr -n {namespace} run --rm -t \
             --runtime io.containerd.mica.v2 {name} {}",
            printable(source),
            summary.container
        )
    }
}
