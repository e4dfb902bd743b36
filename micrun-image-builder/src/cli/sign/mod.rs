//! `sign` and `verify`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use micrun_image_spec::digest::Sha256Digest;
use serde::Serialize;

use self::key::KeyPlace;
use super::places::Places;
use super::registry::RegistryArgs;
use super::render::printable;
use super::{CliError, Format, Printing, print_json};
use crate::sign::{self, Rejected, Signed, Verified, VerifyError, verify_image};
use crate::store::Location;

mod key;
mod place;

pub(super) use key::KeyPlaceError;

#[derive(Args)]
#[command(after_help = SIGN_EXAMPLES)]
pub(super) struct SignArgs {
    /// The image: docker://NAME[:TAG], oci:DIR[:TAG], oci-archive:FILE, or the path of a layout or archive
    image: Location,
    /// The private key: a file, or env://VARIABLE. An encrypted one's password comes from COSIGN_PASSWORD, else it is
    /// asked for
    #[arg(long, value_name = "FILE")]
    key: KeyPlace,
    /// Store the signature under the tag sha256-DIGEST.sig, as cosign did before version 3. Needs a registry
    #[arg(long)]
    legacy: bool,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    registry: RegistryArgs,
}

const SIGN_EXAMPLES: &str = "\
Examples:
  cosign generate-key-pair
  micrun-image-builder sign --key cosign.key docker://registry.example/demo/zephyr:1
  micrun-image-builder sign --key env://SIGNING_KEY zephyr.oci.tar

What is signed is the digest that the name stands for now: of the index, if the image has several platforms. \
The signature goes into no transparency log.";

#[derive(Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub(super) struct VerifyArgs {
    /// The image: docker://NAME[:TAG], oci:DIR[:TAG], oci-archive:FILE, or the path of a layout or archive
    image: Location,
    /// The public key: a file, or env://VARIABLE
    #[arg(long, value_name = "FILE")]
    key: KeyPlace,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    registry: RegistryArgs,
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  micrun-image-builder verify --key cosign.pub docker://registry.example/demo/zephyr:1
  micrun-image-builder verify --key cosign.pub oci:images:v1 --format json

Signatures alone: the key decides, no transparency log is asked. Certificates (keyless signatures) do not count.

Exit status: 0 the key signed this image, 1 it did not or that cannot be found out, 2 wrong usage.";

pub(super) fn sign(args: &SignArgs) -> Result<ExitCode, CliError> {
    place::check_format(&args.image, args.legacy)?;
    let key = args.key.private()?;
    let signed =
        place::sign(&Places::new(&args.registry, args.printing.quiet), &args.image, &key, args.legacy)?;
    match args.printing.format {
        Format::Json => print_json(&SignSummary::of(&args.image, &signed))?,
        Format::Text if args.printing.quiet => {}
        Format::Text => writeln!(
            io::stdout(),
            "signed {}\n  digest     {}\n  signature  {}",
            printable(&args.image.to_string()),
            signed.image,
            signed.place
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn verify(args: &VerifyArgs) -> Result<ExitCode, CliError> {
    let key = args.key.public()?;
    let source = Places::new(&args.registry, args.printing.quiet).source(&args.image)?;
    let result = verify_image(source.as_ref(), &key);
    if args.printing.format == Format::Json
        && let Some(summary) = VerifySummary::of(&args.image, &result)
    {
        print_json(&summary)?;
    }
    let verified = result?;
    if args.printing.format == Format::Text && !args.printing.quiet {
        print_verified(&args.image, &verified)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_verified(image: &Location, verified: &Verified) -> io::Result<()> {
    let mut text = format!("verified {}\n  digest  {}\n", printable(&image.to_string()), verified.image);
    for signature in &verified.accepted {
        let named = signature.repository.as_ref().map(|name| format!(" (as {name})")).unwrap_or_default();
        text += &format!("  signed  {}{}\n", signature.place, printable(&named));
    }
    for other in &verified.rejected {
        text += &format!("  other   {}\n", printable(&other.to_string()));
    }
    io::stdout().write_all(text.as_bytes())
}

/// The result of `sign`, for programs.
#[derive(Serialize)]
struct SignSummary {
    source: String,
    digest: Sha256Digest,
    signature: String,
}

impl SignSummary {
    fn of(image: &Location, signed: &Signed) -> Self {
        SignSummary { source: image.to_string(), digest: signed.image, signature: signed.place.to_string() }
    }
}

/// The result of `verify`, for programs.
#[derive(Serialize)]
struct VerifySummary {
    source: String,
    digest: Sha256Digest,
    verified: bool,
    signatures: Vec<SignatureSummary>,
}

#[derive(Serialize)]
struct SignatureSummary {
    place: String,
    accepted: bool,
    repository: Option<String>,
    reason: Option<String>,
}

impl VerifySummary {
    /// None if nothing could be found out.
    fn of(source: &Location, result: &Result<Verified, VerifyError>) -> Option<Self> {
        let (digest, accepted, rejected): (_, &[sign::Accepted], &[Rejected]) = match result {
            Ok(verified) => (verified.image, &verified.accepted, &verified.rejected),
            Err(VerifyError::NoneCounts { image, rejected }) => (*image, &[], rejected),
            Err(VerifyError::Unsigned { image, .. }) => (*image, &[], &[]),
            Err(_) => return None,
        };
        let good = accepted.iter().map(|signature| SignatureSummary {
            place: signature.place.to_string(),
            accepted: true,
            repository: signature.repository.clone(),
            reason: None,
        });
        let others = rejected.iter().map(|other| SignatureSummary {
            place: other.place.to_string(),
            accepted: false,
            repository: None,
            reason: Some(other.reason.to_string()),
        });
        let signatures = good.chain(others).collect();
        Some(VerifySummary { source: source.to_string(), digest, verified: !accepted.is_empty(), signatures })
    }
}
