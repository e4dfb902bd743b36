//! Decides what the options leave open: name, RTOS, board, pedestal and platform, each with its reason.

use micrun_image_spec::board::BoardProfile;
use micrun_image_spec::firmware::{Pedestal, Rtos};

use super::{Choice, Request, UserConf};
use crate::check::{self, Code, Place, Report};
use crate::detect::{self, Identity, Outside};
use crate::elf::Elf;
use crate::image::{Platform, Reference};
use crate::zephyr::Said;

/// What stands in the image, and why.
#[derive(Debug)]
pub struct Decisions {
    /// The image's name.
    pub reference: Choice<Reference>,
    /// The RTOS.
    pub rtos: Choice<Option<Rtos>>,
    /// Its version, if the file says it.
    pub rtos_version: Option<String>,
    /// The board's name.
    pub board: Choice<Option<String>>,
    /// What the guest runs on.
    pub pedestal: Choice<Pedestal>,
    /// The nodes' platforms.
    pub platforms: Choice<Vec<Platform>>,
}

pub(super) fn decide(
    request: &Request<'_>,
    elf: &Elf<'_>,
    identity: Option<Identity>,
    report: &mut Report,
) -> Decisions {
    let reference = decide_reference(request);
    let (board, profile) = decide_board(request, elf, identity.as_ref().map(|i| &i.rtos), report);
    if let Some(board) = profile {
        check_board(elf, board, report);
    }
    let pedestal = decide_pedestal(request, profile, report);
    check::resource_table(elf, Some(pedestal.value), profile, report);
    let platforms = decide_platforms(request, elf, pedestal.value, report);
    let rtos_version = identity.as_ref().and_then(|identity| identity.version.clone());
    let rtos = match identity {
        Some(identity) => match request.wanted_rtos() {
            Some(wanted) => wanted.map(|rtos| Some(rtos.clone())),
            None => Choice::found(Some(identity.rtos), identity.evidence, "--rtos"),
        },
        None => Choice::unknown("not recognised", "--rtos"),
    };
    Decisions { reference, rtos, rtos_version, board, pedestal, platforms }
}

fn decide_reference(request: &Request<'_>) -> Choice<Reference> {
    const OPTION: &str = "--tag";
    let application = request.build.and_then(|build| build.application.as_ref());
    match (&request.tag, application) {
        (Some(reference), _) => Choice::given(reference.clone(), OPTION),
        (None, Some(Said { value, by })) => Choice::found(Reference::from_file_stem(value), *by, OPTION),
        (None, None) => {
            Choice::assumed(Reference::from_file_stem(request.file_stem), "the file's name", OPTION)
        }
    }
}

/// The platforms of the nodes. Any node can emulate any guest; real cores are those of one kind of node.
fn decide_platforms(
    request: &Request<'_>,
    elf: &Elf<'_>,
    on: Pedestal,
    report: &mut Report,
) -> Choice<Vec<Platform>> {
    const OPTION: &str = "--platform";
    if request.platforms.len() > 1 && on != Pedestal::Qemu {
        report.add(
            Code::SeveralPlatforms,
            Some(Place::Option(OPTION.to_owned())),
            format!("a guest on {on} runs on the cores of one kind of node, and several platforms are given"),
            "give one --platform, or pack for --pedestal qemu",
        );
    }
    if !request.platforms.is_empty() {
        return Choice::given(request.platforms.clone(), OPTION);
    }
    if on == Pedestal::Qemu {
        let own = Platform::of_this_machine();
        return Choice::assumed(vec![own], "this machine's, for the qemu pedestal", OPTION);
    }
    let platform = Platform::for_cores(elf.arch, on);
    Choice::assumed(vec![platform], format!("the usual node for {} on {on}", elf.arch), OPTION)
}

/// The board's name for the image, and its profile. A board is guessed for the qemu pedestal only: on the others
/// the node itself is the board.
fn decide_board<'a>(
    request: &Request<'a>,
    elf: &Elf<'_>,
    rtos: Option<&Rtos>,
    report: &mut Report,
) -> (Choice<Option<String>>, Option<&'a BoardProfile>) {
    const OPTION: &str = "--board";
    if let Some(wanted) = request.wanted_board() {
        let profile = request.board.or_else(|| request.boards.get(&wanted.value));
        if profile.is_none() {
            report.add(
                Code::NoBoard,
                request.client_conf.map(UserConf::place),
                format!("no profile has the name {}", wanted.value),
                "check the spelling, or give the profile with --boards-dir",
            );
        }
        return (wanted.map(|name| Some(name.clone())), profile);
    }
    let pedestal = request.wanted_pedestal().map(|pedestal| pedestal.value);
    let target = request.build.and_then(|build| build.board.as_ref());
    let matched = target.and_then(|target| Some((target, target.value.find(request.boards)?)));
    if let Some((target, found)) = matched.filter(|(_, found)| runs_on(found.board, pedestal)) {
        let because = match found.exact {
            true => target.by.to_owned(),
            false => format!("{} says {}, and no board is nearer", target.by, target.value),
        };
        return (Choice::found(Some(found.board.name.to_string()), because, OPTION), Some(found.board));
    }
    if pedestal.is_some_and(|pedestal| pedestal != Pedestal::Qemu) {
        return (Choice::unknown("the node itself", OPTION), None);
    }
    if let Some(target) = target {
        report.add(
            Code::NoBoard,
            None,
            format!("the firmware was built for {}, as {} says, and no profile has this name", target.value, target.by),
            "name a board with --board, or describe this one in a file: micrun-image-builder boards show BOARD prints an example",
        );
        return (Choice::unknown("none is known", OPTION), None);
    }
    match detect::guess_board(elf, rtos, request.boards) {
        Some(guess) => {
            let name = guess.board.name.to_string();
            (Choice::assumed(Some(name), guess.reason, OPTION), Some(guess.board))
        }
        None => {
            report.add(
                Code::NoBoard,
                None,
                format!("no board is known for {}", elf.arch),
                "name one with --board; a node's own boards are files in its boards.d",
            );
            (Choice::unknown("none is known", OPTION), None)
        }
    }
}

fn runs_on(board: &BoardProfile, pedestal: Option<Pedestal>) -> bool {
    pedestal.is_none_or(|pedestal| board.pedestals.contains(&pedestal))
}

/// Can that board run this firmware?
fn check_board(elf: &Elf<'_>, board: &BoardProfile, report: &mut Report) {
    const REMEDY: &str = "choose another board: micrun-image-builder boards list";
    if board.arch != elf.arch {
        report.add(
            Code::ArchitectureNotOnBoard,
            Some(Place::Option("--board".to_owned())),
            format!("the firmware is for {}, but board {board} has a core of {}", elf.arch, board.arch),
            REMEDY,
        );
    } else if let Some(Outside { segment, start, size }) = detect::outside_memory(elf, board) {
        report.add(
            Code::OutsideBoard,
            Some(Place::Segment(segment.index)),
            format!("board {board} has no memory for {size} bytes at {start:#x}"),
            REMEDY,
        );
    }
}

fn decide_pedestal(
    request: &Request<'_>,
    profile: Option<&BoardProfile>,
    report: &mut Report,
) -> Choice<Pedestal> {
    const OPTION: &str = "--pedestal";
    let pedestal = match (request.wanted_pedestal(), profile.and_then(|profile| profile.pedestals.first())) {
        (Some(wanted), _) => wanted,
        (None, Some(&first)) => Choice::assumed(first, "the board's usual one", OPTION),
        (None, None) => Choice::assumed(Pedestal::Qemu, "it runs on any Linux node", OPTION),
    };
    let chosen = pedestal.value;
    if let Some(board) = profile.filter(|board| !board.pedestals.contains(&chosen)) {
        report.add(
            Code::PedestalNotOnBoard,
            Some(Place::Option(OPTION.to_owned())),
            format!("board {board} does not run on {chosen}"),
            "leave --pedestal or --board out, or choose another pair: micrun-image-builder boards show BOARD",
        );
    }
    pedestal
}
