//! The user's own client.conf. Its values outweigh what the builder assumes, and are outweighed by options.

use micrun_image_spec::annotation::{BOARD, CONTAINER_OS, PED_PEDESTAL};
use micrun_image_spec::client_conf::{ClientConf, Key};
use micrun_image_spec::firmware::{Pedestal, Rtos};

use super::{Choice, Request};
use crate::check::{Code, Place, Report};
use crate::detect::Identity;

/// A client.conf that the user gave.
#[derive(Debug, Clone)]
pub struct UserConf {
    /// What it says.
    pub conf: ClientConf,
    /// What it is called in findings.
    pub name: String,
}

impl UserConf {
    /// Where its findings are.
    pub(super) fn place(&self) -> Place {
        Place::Option(self.option())
    }

    pub(super) fn option(&self) -> String {
        format!("--client-conf {}", self.name)
    }

    fn pedestal(&self) -> Option<Pedestal> {
        let said = self.conf.get(Key::Pedestal).or_else(|| self.micrun(PED_PEDESTAL));
        said.and_then(|word| word.parse().ok())
    }

    fn rtos(&self) -> Option<Rtos> {
        self.micrun(CONTAINER_OS).and_then(|word| word.parse().ok())
    }

    pub(super) fn board(&self) -> Option<&str> {
        self.micrun(BOARD)
    }

    fn micrun(&self, name: &str) -> Option<&str> {
        self.conf.micrun().get(name).map(String::as_str)
    }

    fn found<T>(&self, value: T, option: &'static str) -> Choice<T> {
        Choice::found(value, format!("client.conf {}", self.name), option)
    }
}

impl Request<'_> {
    /// What the user wants the guest to run on: by option, or by client.conf.
    pub(super) fn wanted_pedestal(&self) -> Option<Choice<Pedestal>> {
        const OPTION: &str = "--pedestal";
        let given = self.pedestal.map(|pedestal| Choice::given(pedestal, OPTION));
        given.or_else(|| self.client_conf.and_then(|conf| Some(conf.found(conf.pedestal()?, OPTION))))
    }

    /// The RTOS that the user names.
    pub(super) fn wanted_rtos(&self) -> Option<Choice<Rtos>> {
        const OPTION: &str = "--rtos";
        let given = self.rtos.clone().map(|rtos| Choice::given(rtos, OPTION));
        given.or_else(|| self.client_conf.and_then(|conf| Some(conf.found(conf.rtos()?, OPTION))))
    }

    /// The name of the board that the user wants.
    pub(super) fn wanted_board(&self) -> Option<Choice<String>> {
        const OPTION: &str = "--board";
        let given = self.board.map(|board| Choice::given(board.name.to_string(), OPTION));
        given.or_else(|| self.client_conf.and_then(|conf| Some(conf.found(conf.board()?.to_owned(), OPTION))))
    }
}

/// Reports where client.conf contradicts options, itself, or the firmware.
pub(super) fn compare(request: &Request<'_>, identity: Option<&Identity>, report: &mut Report) {
    let Some(given) = request.client_conf else { return };
    let mut against = |key: &str, says: &str, who: &str, other: &str| {
        if !says.eq_ignore_ascii_case(other) {
            report.add(
                Code::ConfAgainstOption,
                Some(given.place()),
                format!("client.conf says {key}={says}, and {who} {other}"),
                "make both say the same, or leave one of them out",
            );
        }
    };
    let mica = given.conf.get(Key::Pedestal);
    let pedestals = [("Pedestal", mica), (PED_PEDESTAL, given.micrun(PED_PEDESTAL))];
    for (key, says) in pedestals {
        if let (Some(says), Some(option)) = (says, request.pedestal) {
            against(key, says, "--pedestal says", option.as_str());
        }
    }
    if let (Some(mica), Some(micrun)) = (mica, given.micrun(PED_PEDESTAL)) {
        against("Pedestal", mica, "its section [MicRun] says", micrun);
    }
    if let (Some(says), Some(option)) = (given.board(), request.board) {
        against(BOARD, says, "--board says", option.name.as_str());
    }
    if let (Some(says), Some(option)) = (given.micrun(CONTAINER_OS), &request.rtos) {
        against(CONTAINER_OS, says, "--rtos says", option.as_str());
    }
    if let (Some(says), Some(found), None) = (given.rtos(), identity, &request.rtos)
        && says != found.rtos
    {
        report.add(
            Code::ConfAgainstFirmware,
            Some(given.place()),
            format!(
                "client.conf says {CONTAINER_OS}={says}, and the firmware is {} ({})",
                found.rtos, found.evidence
            ),
            "give the client.conf of this firmware, or correct the line",
        );
    }
}
