//! Guests of micad, played by micad-sim: real firmware on cores that are pretended, with the daemon's real protocol,
//! its limits and its faults.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use libmica::{ClientName, Create, Micad, State};
use micad_sim::tty::{FirstWords, Naming};
use micad_sim::{Options, Sim};
use micrun::config::{NodeConfig, Settings};
use micrun::id::{GuestName, Id, Key};
use micrun::pedestal::micad::MicadDriver;
use micrun::pedestal::{
    Console, Created, Driver, DriverError, Event, ExitCause, Guest, GuestSpec, Node, Record,
};
use micrun::resources::{Asked, CpuSet, Resources};
use micrun_image_spec::board::Boards;
use support::{Bundle, Shim, kill, refusal, soon, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A generous deadline for things that happen in milliseconds, and boot an emulator.
const SOON: Duration = Duration::from_secs(60);

const BARE: &str = "CPU=3";
const HETERO: &str = "Pedestal=hetero\nPedestalConf=/image.bin\nCPU=riscv";
const CELL: &str = "Pedestal=jailhouse\nPedestalConf=/demo.cell";

/// The test firmware, which has a resource table.
fn firmware() -> &'static Path {
    static BUILT: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        micrun_testkit::product::build_firmware("qemu_arm64", folder.path(), "").unwrap();
        let elf = folder.path().join("qemu_arm64.elf");
        (folder, elf)
    });
    &BUILT.1
}

/// A daemon, and what a shim would use to run guests with it.
struct Bench {
    sim: Sim,
    driver: MicadDriver,
    node: Node,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Options)) -> Bench {
        let sim = Sim::for_test(change).unwrap();
        let mut node = Node::new(Boards::builtin(), []);
        node.micad = sim.dir().to_owned();
        node.cores = CpuSet::first(4);
        let driver = MicadDriver::at(sim.dir(), sim.dev());
        Bench { sim, driver, node, folder: tempfile::tempdir().unwrap() }
    }

    /// What the container would ask for, with these lines in client.conf.
    fn spec(&self, id: &str, lines: &str) -> GuestSpec {
        let conf = format!("[Mica]\nName=x\nClientPath=/firmware.elf\n{lines}\n").parse().unwrap();
        let settings = Settings::merge(&NodeConfig::default(), &conf, &Default::default()).unwrap().settings;
        let key = Key { namespace: Id::new("test").unwrap(), id: Id::new(id).unwrap() };
        let pedestal_conf = settings.pedestal_conf.is_some().then(|| self.pedestal_conf());
        GuestSpec {
            name: GuestName::of(&key),
            key,
            dir: self.folder.path().to_owned(),
            firmware: firmware().to_owned(),
            pedestal_conf,
            resources: Resources::plan(&settings.wishes, &Asked::default(), &self.node.cores, None).unwrap(),
            cgroup: None,
            interface: None,
            settings,
            trace: None,
        }
    }

    /// The head of a Jailhouse cell, which is as good a boot image as any.
    fn pedestal_conf(&self) -> PathBuf {
        let mut cell = b"JHCLL\x02\x0d\0demo-cell".to_vec();
        cell.resize(44, 0);
        let path = self.folder.path().join("pedestal.conf");
        fs::write(&path, cell).unwrap();
        path
    }

    async fn create(&self, spec: &GuestSpec) -> Result<Created, DriverError> {
        self.driver.plan(spec, &self.node).unwrap().create().await
    }

    /// A guest that runs, with its console.
    async fn run(&self, lines: &str) -> Running {
        let spec = self.spec("a", lines);
        let Created { mut guest, record, events, .. } = self.create(&spec).await.unwrap();
        guest.start().await.unwrap_or_else(|error| panic!("{error}: {:?}", self.sim.journal()));
        let mut running = Running { guest, record, events, name: spec.name.to_string(), line: None };
        let mut line = running.console().await;
        line.expect("micrun> ").await;
        running.line = Some(line);
        running
    }

    fn micad(&self) -> Micad {
        Micad::new(self.sim.dir())
    }

    fn knows(&self, name: &str) -> bool {
        self.sim.dir().join(format!("{name}.socket")).exists()
    }

    fn guests(&self) -> usize {
        self.sim.guests().unwrap().len()
    }

    fn order(&self, order: &str) {
        self.sim.order(order).unwrap();
    }
}

/// An image for a bare core.
fn bundle(shim: &Shim) -> Bundle {
    let bundle = shim.bundle("a");
    bundle.file("client.conf", &format!("[Mica]\nName=x\nClientPath=/firmware.elf\n{BARE}\n"));
    fs::copy(firmware(), bundle.rootfs().join("firmware.elf")).unwrap();
    bundle
}

struct Running {
    guest: Box<dyn Guest>,
    record: Record,
    events: mpsc::UnboundedReceiver<Event>,
    name: String,
    line: Option<Line>,
}

struct Line(Console);

impl Running {
    async fn event(&mut self) -> Event {
        timeout(SOON, self.events.recv()).await.unwrap().unwrap()
    }

    async fn console(&mut self) -> Line {
        match self.event().await {
            Event::ConsoleBack(console) => Line(console),
            _ => panic!("something else than a console came"),
        }
    }

    /// Reads the console to its end, as the container does, and waits for word of it.
    async fn lose_console(&mut self) {
        self.line.take().unwrap().at_end().await;
        assert!(matches!(self.event().await, Event::ConsoleLost(_)));
    }

    async fn end(&mut self) -> ExitCause {
        loop {
            match self.event().await {
                Event::Exited(cause) => return cause,
                Event::ConsoleLost(_) | Event::ConsoleBack(_) => {}
                _ => panic!("something else than the end came"),
            }
        }
    }
}

impl Line {
    async fn expect(&mut self, text: &str) {
        let mut seen = String::new();
        let mut buffer = [0; 4096];
        while !seen.contains(text) {
            let length = timeout(SOON, self.0.read(&mut buffer)).await.unwrap().unwrap();
            assert!(length > 0, "the console ended before {text:?}: {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    }

    async fn type_line(&mut self, line: &str) {
        self.0.write_all(format!("{line}\r").as_bytes()).await.unwrap();
    }

    async fn at_end(&mut self) {
        let mut rest = [0; 4096];
        while timeout(SOON, self.0.read(&mut rest)).await.unwrap().unwrap() > 0 {}
    }
}

async fn until(what: &str, mut probe: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !probe() {
        assert!(Instant::now() < end, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

// ---- a life ----

#[tokio::test]
async fn a_guest_speaks_and_listens_under_both_names_of_ttys() {
    for naming in [Naming::Legacy, Naming::ClientName] {
        let bench = Bench::with(|options| options.naming = naming);
        let spec = bench.spec("a", BARE);
        let Created { mut guest, console, events, record } = bench.create(&spec).await.unwrap();
        assert!(console.is_none(), "it comes with the guest's announcement");
        guest.start().await.unwrap();
        let mut running = Running { guest, record, events, name: spec.name.to_string(), line: None };
        let mut console = running.console().await;
        console.expect("micrun> ").await;
        console.type_line("echo one  two").await;
        console.expect("\none  two").await;
    }
}

#[tokio::test]
async fn a_guest_that_may_not_speak_first_is_spoken_to() {
    let bench = Bench::with(|options| options.first_words = FirstWords::WhenSpokenTo);
    bench.run(BARE).await;
}

#[tokio::test]
async fn the_end_of_a_guest_that_went_off_is_seen_and_nothing_is_left() {
    let bench = Bench::new();
    let mut running = bench.run(BARE).await;
    bench.order(&format!("off {}", running.name));
    assert_eq!(running.end().await, ExitCause::PoweredOff);
    bench.driver.destroy(&running.record).await.unwrap();
    until("the client to go", || !bench.knows(&running.name)).await;
    bench.driver.destroy(&running.record).await.unwrap();
}

#[tokio::test]
async fn a_shim_runs_a_guest_and_the_engine_stops_it() {
    let bench = Bench::new();
    let shim = Shim::on(bench.node.clone(), MicadDriver::at(bench.sim.dir(), bench.sim.dev())).await;
    let bundle = bundle(&shim);
    for (signal, status) in [(15, 143), (9, 137)] {
        shim.create("a", &bundle).await.unwrap();
        shim.task.start(soon(), &start("a")).await.unwrap();
        shim.task.kill(soon(), &kill("a", signal)).await.unwrap();
        assert_eq!(shim.task.wait(soon(), &support::wait("a")).await.unwrap().exit_status, status);
        shim.task.delete(soon(), &support::delete("a")).await.unwrap();
        until("the guest to go", || bench.guests() == 0).await;
        assert_eq!(fs::read_dir(bench.sim.dir()).unwrap().count(), 1, "the create socket alone");
    }
}

// ---- stops ----

#[tokio::test]
async fn nobody_says_whether_a_bare_core_follows_so_it_is_given_time() {
    let bench = Bench::new();
    let mut running = bench.run(BARE).await;
    bench.order(&format!("deaf {}", running.name));
    let begin = Instant::now();
    running.guest.ask().await.unwrap();
    assert_eq!(running.end().await, ExitCause::Stopped);
    // micad called it offline at once.
    assert!(begin.elapsed() >= Duration::from_secs(3));
    assert_eq!(bench.guests(), 1, "the core still runs, as the log says");
    assert!(matches!(running.guest.force().await, Err(DriverError::Unsupported(_))));
}

#[tokio::test]
async fn a_cell_is_known_to_be_stopped() {
    let bench = Bench::new();
    let mut running = bench.run(CELL).await;
    running.guest.ask().await.unwrap();
    assert_eq!(running.end().await, ExitCause::Stopped);
    assert_eq!(bench.guests(), 0);
    bench.driver.destroy(&running.record).await.unwrap();
}

#[tokio::test]
async fn a_core_of_another_kind_goes_on() {
    let bench = Bench::new();
    let mut running = bench.run(HETERO).await;
    running.guest.ask().await.unwrap();
    assert_eq!(running.end().await, ExitCause::Stopped);
    bench.driver.destroy(&running.record).await.unwrap();
    assert_eq!(bench.guests(), 1);
}

#[tokio::test]
async fn a_guest_that_never_ran_is_stopped_at_once() {
    let bench = Bench::new();
    let spec = bench.spec("a", BARE);
    let Created { mut guest, mut events, record, .. } = bench.create(&spec).await.unwrap();
    guest.ask().await.unwrap();
    assert!(matches!(events.recv().await, Some(Event::Exited(ExitCause::Stopped))));
    bench.driver.destroy(&record).await.unwrap();
    until("the client to go", || !bench.knows(spec.name.as_str())).await;
}

// ---- refusals ----

#[tokio::test]
async fn a_firmware_without_a_resource_table_never_reaches_micad() {
    let bench = Bench::new();
    let mut spec = bench.spec("a", BARE);
    let mut bytes = fs::read(firmware()).unwrap();
    let section = b".resource_table\0";
    let at = bytes.windows(section.len()).position(|window| window == section).unwrap();
    bytes[at + 1] = b'R';
    spec.firmware = bench.folder.path().join("none.elf");
    fs::write(&spec.firmware, bytes).unwrap();
    let said = bench.create(&spec).await.err().unwrap().to_string();
    assert!(said.contains("resource table") && said.contains("none.elf"), "{said}");
    assert!(!bench.knows(spec.name.as_str()));
}

#[tokio::test]
async fn a_client_of_the_same_name_stays() {
    let bench = Bench::new();
    let spec = bench.spec("a", BARE);
    let name = ClientName::new(spec.name.as_str()).unwrap();
    let mut other = Create::new(name.clone(), firmware(), libmica::Pedestal::Baremetal);
    other.cpus = "2".to_owned();
    bench.micad().create(&other).await.unwrap();
    let said = bench.create(&spec).await.err().unwrap().to_string();
    assert!(said.contains("already has a client") && said.contains("mica rm"), "{said}");
    assert_eq!(bench.micad().status(&name).await.unwrap().state, State::Offline);
}

#[tokio::test]
async fn without_micad_a_container_says_how_to_get_it() {
    let mut node = Node::new(Boards::builtin(), []);
    node.micad = "/nowhere".into();
    let shim = Shim::on(node, MicadDriver::default()).await;
    let bundle = bundle(&shim);
    let (_, said) = refusal(shim.create("a", &bundle).await);
    assert!(said.contains("/nowhere/mica-create.socket") && said.contains("systemctl start micad"), "{said}");
}

#[tokio::test]
async fn a_micad_that_died_is_told_from_one_that_never_ran() {
    let bench = Bench::new();
    bench.order("crash");
    let said = bench.create(&bench.spec("a", BARE)).await.err().unwrap().to_string();
    assert!(said.contains("micad has died") && said.contains("systemctl restart micad"), "{said}");
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing_and_says_what_the_daemon_said() {
    for (fault, expected) in [
        ("start refuse no more cores", "no more cores"),
        ("start cut", "in the middle of its answer"),
        ("start die", "in the middle of its answer"),
        ("start refuse ", "its log has it"),
    ] {
        let bench = Bench::new();
        let spec = bench.spec("a", BARE);
        let Created { mut guest, mut events, .. } = bench.create(&spec).await.unwrap();
        bench.order(fault);
        let said = guest.start().await.unwrap_err().to_string();
        assert!(said.contains(expected) && said.contains(spec.name.as_str()), "{fault}: {said}");
        let end = events.recv().await;
        assert!(matches!(end, Some(Event::Exited(ExitCause::Failed(_)))), "{fault}");
        bench.order("restart");
        assert!(!bench.knows(spec.name.as_str()), "{fault}");
    }
}

#[tokio::test]
async fn a_core_that_is_taken_is_refused_by_the_daemon() {
    let bench = Bench::new();
    let first = bench.run(BARE).await;
    // One that answered would be taken for the new guest, if both have the same firmware: only reservations help there.
    bench.order(&format!("deaf {}", first.name));
    let spec = bench.spec("b", BARE);
    let Created { mut guest, .. } = bench.create(&spec).await.unwrap();
    guest.start().await.unwrap_err();
    until("the second to go", || !bench.knows(spec.name.as_str())).await;
    assert_eq!(bench.guests(), 1);
}

#[tokio::test]
async fn a_core_of_another_container_is_refused_before_the_daemon_is_asked() {
    let bench = Bench::new();
    let shim = Shim::on(bench.node.clone(), MicadDriver::at(bench.sim.dir(), bench.sim.dev())).await;
    let create = async |id: &str, cores: &str| {
        let bundle = shim.bundle(id);
        let conf = format!("[Mica]\nName=x\nClientPath=/firmware.elf\nCPU={cores}\n");
        bundle.file("client.conf", &conf);
        fs::copy(firmware(), bundle.rootfs().join("firmware.elf")).unwrap();
        shim.create(id, &bundle).await
    };
    create("a", "3").await.unwrap();
    let asked = bench.sim.journal().len();
    let (_, text) = refusal(create("b", "3").await);
    assert!(text.contains("core 3 belongs to container test/a; delete that container"), "{text}");
    assert_eq!(bench.sim.journal().len(), asked);
    create("b", "2").await.unwrap();
    for id in ["a", "b"] {
        shim.task.delete(soon(), &support::delete(id)).await.unwrap();
    }
}

// ---- a daemon that is slow, hangs, dies ----

#[tokio::test]
async fn answers_in_pieces_and_late_ones_are_answers() {
    let bench = Bench::new();
    bench.order("every status split 1");
    bench.order("start slow 1500");
    bench.run(BARE).await;
}

#[tokio::test]
async fn a_hung_daemon_does_not_hold_up_a_delete() {
    let bench = Bench::new();
    let running = bench.run(BARE).await;
    bench.order("every any hang");
    let begin = Instant::now();
    let said = bench.driver.destroy(&running.record).await.unwrap_err().to_string();
    assert!(begin.elapsed() < Duration::from_secs(4), "containerd gives up then");
    assert!(said.contains("busy with other guests or hung"), "{said}");
    bench.order("clear");
    bench.driver.destroy(&running.record).await.unwrap();
    until("the client to go", || !bench.knows(&running.name)).await;
}

#[tokio::test]
async fn a_daemon_that_dies_of_a_stop_has_forgotten_the_guest() {
    let bench = Bench::new();
    let running = bench.run(BARE).await;
    bench.order("stop die");
    bench.driver.destroy(&running.record).await.unwrap();
}

#[tokio::test]
async fn a_restarted_daemon_takes_a_bare_core_back() {
    let bench = Bench::new();
    let mut running = bench.run(BARE).await;
    bench.order("restart");
    running.lose_console().await;
    let mut console = running.console().await;
    console.type_line("echo still  here").await;
    console.expect("\nstill  here").await;
    assert_eq!(bench.guests(), 1, "it was not booted again");
    bench.driver.destroy(&running.record).await.unwrap();
}

#[tokio::test]
async fn a_restarted_daemon_has_lost_the_others() {
    for lines in [CELL, HETERO] {
        let bench = Bench::new();
        let mut running = bench.run(lines).await;
        bench.order("restart");
        let ExitCause::Failed(why) = running.end().await else { panic!("{lines}") };
        assert!(why.contains("micad was restarted") && why.contains("may still run"), "{why}");
        bench.driver.destroy(&running.record).await.unwrap();
    }
}

#[tokio::test]
async fn a_daemon_that_is_gone_for_a_while_ends_no_guest() {
    let bench = Bench::new();
    let mut running = bench.run(BARE).await;
    bench.order("crash");
    running.lose_console().await;
    let quiet = timeout(Duration::from_millis(2500), running.events.recv()).await;
    assert!(quiet.is_err(), "the guest runs on");
    bench.order("restart");
    running.console().await;
}

#[tokio::test]
async fn a_container_can_be_stopped_and_deleted_whatever_the_daemon_does() {
    for (fault, end) in [("every any hang", "clear"), ("crash", "restart")] {
        let bench = Bench::new();
        let shim = Shim::on(bench.node.clone(), MicadDriver::at(bench.sim.dir(), bench.sim.dev())).await;
        let bundle = bundle(&shim);
        shim.create("a", &bundle).await.unwrap();
        shim.task.start(soon(), &start("a")).await.unwrap();
        bench.order(fault);
        for signal in [15, 9] {
            shim.task.kill(soon(), &kill("a", signal)).await.unwrap();
        }
        let exit = shim.task.wait(soon(), &support::wait("a")).await.unwrap();
        assert_eq!(exit.exit_status, 137, "{fault}");
        if fault != "crash" {
            let (_, said) = refusal(shim.task.delete(soon(), &support::delete("a")).await);
            assert!(said.contains("busy with other guests or hung"), "{said}");
        }
        bench.order(end);
        shim.task.delete(soon(), &support::delete("a")).await.unwrap();
        until("the client to go", || fs::read_dir(bench.sim.dir()).unwrap().count() == 1).await;
    }
}

// ---- the console ----

#[tokio::test]
async fn a_console_that_is_lost_is_opened_again() {
    let bench = Bench::new();
    let mut running = bench.run(BARE).await;
    bench.order(&format!("lose-tty {}", running.name));
    running.lose_console().await;
    bench.order(&format!("give-tty {}", running.name));
    let mut console = running.console().await;
    console.type_line("echo back  again").await;
    console.expect("\nback  again").await;
}

// ---- other processes ----

#[tokio::test]
async fn another_shim_takes_the_guest_over() {
    let bench = Bench::new();
    let running = bench.run(BARE).await;
    drop((running.guest, running.events));
    let Created { guest, events, record, .. } = bench.driver.adopt(&running.record).await.unwrap();
    let mut adopted = Running { guest, events, record, name: running.name, line: None };
    let mut console = adopted.console().await;
    console.type_line("echo new  shim").await;
    console.expect("\nnew  shim").await;
    bench.order(&format!("off {}", adopted.name));
    assert_eq!(adopted.end().await, ExitCause::PoweredOff);
    let said = bench.driver.adopt(&adopted.record).await.err().unwrap().to_string();
    assert!(said.contains("micad says that it is Offline"), "{said}");
}

#[tokio::test]
async fn a_record_alone_is_enough_to_free_a_guest() {
    let bench = Bench::new();
    let running = bench.run(BARE).await;
    drop(running.guest);
    let text = serde_json::to_string(&running.record).unwrap();
    let record: Record = serde_json::from_str(&text).unwrap();
    MicadDriver::default().destroy(&record).await.unwrap();
    until("the client to go", || !bench.knows(&running.name)).await;
    // A daemon that has forgotten it, one that is dead, and none.
    MicadDriver::default().destroy(&record).await.unwrap();
    bench.order("crash");
    MicadDriver::default().destroy(&record).await.unwrap();
    drop(bench);
    MicadDriver::default().destroy(&record).await.unwrap();
}

/// The record is lost; the client's name follows from the container's.
#[tokio::test]
async fn a_guest_without_a_record_is_freed_by_its_containers_name() {
    let bench = Bench::new();
    let running = bench.run(BARE).await;
    let key = |id: &str| Key { namespace: Id::new("test").unwrap(), id: Id::new(id).unwrap() };
    bench.driver.destroy_lost(&key("b")).await.unwrap();
    assert!(bench.knows(&running.name), "the guest of another container");
    bench.driver.destroy_lost(&key("a")).await.unwrap();
    bench.driver.destroy_lost(&key("a")).await.unwrap();
    assert!(!bench.knows(&running.name));
}
