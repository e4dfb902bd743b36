//! A firmware's facts as text.

use super::table::{Table, human};
use crate::cli::render::printable;
use crate::elf::resource_table::{Entry, Resource, ResourceTable, VIRTIO_ID_RPMSG};
use crate::inspect::{Address, Facts, Purpose, Resources};

pub(super) fn text(file: &str, facts: &Facts) -> String {
    let mut text = format!("{}\n{}", printable(file), summary(facts).text());
    let mut section = |title: &str, body: String| {
        if !body.is_empty() {
            text += &format!("\n{title}\n{body}");
        }
    };
    section("memory map", memory_map(facts));
    section("smallest memory, as linked; what is taken at run time comes on top", memory(facts));
    section("stacks, heaps and bss", reservations(facts));
    section("resource table", facts.resource_table.as_ref().map(resources).unwrap_or_default());
    section("pedestals", pedestals(facts));
    text
}

fn summary(facts: &Facts) -> Table {
    let mut table = Table::default();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    let core = &facts.core;
    let mut words = vec![format!("{}-bit", core.bits)];
    words.extend(core.model.clone());
    words.extend(core.features.iter().map(|&feature| feature.to_owned()));
    row("architecture", format!("{} ({})", core.arch, words.join(", ")));
    if let Some(abi) = &core.float_abi {
        row("float ABI", format!("{} ({})", abi.value, abi.because));
    }
    row("RTOS", rtos(facts));
    let thumb = if facts.entry.thumb { " (Thumb)" } else { "" };
    row("entry", format!("{}{thumb}", facts.entry.address));
    row("board", board(facts));
    row("file", human(facts.file_size));
    row("debug info", debug(facts));
    if let Some(id) = &facts.debug.build_id {
        row("build ID", id.clone());
    }
    table
}

fn board(facts: &Facts) -> String {
    match &facts.board {
        Some(board) => format!("{} ({})", board.value, board.because),
        None => "unknown (no usual board holds all segments; --board names one)".to_owned(),
    }
}

fn rtos(facts: &Facts) -> String {
    match &facts.rtos {
        Some(rtos) => {
            let version = rtos.version.as_deref().unwrap_or("of unknown version");
            format!("{} {version} ({})", rtos.name, rtos.because)
        }
        None => "unknown".to_owned(),
    }
}

fn debug(facts: &Facts) -> String {
    let debug = &facts.debug;
    let information = match (debug.size, debug.dwarf) {
        (0, _) => "none".to_owned(),
        (size, Some(version)) => format!("DWARF {version}, {}", human(size)),
        (size, None) => human(size),
    };
    format!("{information}; {} symbols", debug.symbols)
}

fn memory_map(facts: &Facts) -> String {
    const HEADER: [&str; 8] =
        ["#", "what", "flags", "loaded to", "in file", "runs at", "in memory", "region"];
    let mut table = Table::with_header(&HEADER, &[0, 3, 4, 5, 6]);
    for segment in &facts.segments {
        let region = match (&segment.load_region, &segment.run_region) {
            (Some(load), Some(run)) if load == run || segment.file_size == 0 => run.clone(),
            (Some(load), Some(run)) => format!("{load}, runs in {run}"),
            (Some(load), None) => load.clone(),
            (None, run) => run.clone().unwrap_or_default(),
        };
        table.row([
            segment.index.to_string(),
            segment.what.to_owned(),
            segment.permissions.clone(),
            segment.loaded_to.to_string(),
            human(segment.file_size),
            segment.runs_at.to_string(),
            human(segment.memory_size),
            region,
        ]);
    }
    table.text()
}

fn memory(facts: &Facts) -> String {
    let mut table = Table::default();
    for need in &facts.memory {
        let region = need.region.as_deref().unwrap_or("memory");
        let range = format!("{} to {}", need.from, need.to);
        table.row([region.to_owned(), human(need.size), range, need.because.clone()]);
    }
    table.text()
}

fn reservations(facts: &Facts) -> String {
    let mut table = Table::default();
    for reservation in &facts.reservations {
        let purpose = match reservation.purpose {
            Purpose::Stack => "stack",
            Purpose::Heap => "heap",
            Purpose::Bss => "bss",
        };
        let place = match (reservation.address, reservation.end) {
            (Some(address), _) => format!("at {address}"),
            (None, Some(end)) => format!("up to {end}"),
            (None, None) => String::new(),
        };
        let size = reservation.size.map(human).unwrap_or_default();
        table.row([purpose.to_owned(), size, place, reservation.name.clone()]);
    }
    table.text()
}

fn resources(resources: &Resources) -> String {
    let Some(table) = &resources.table else {
        let error = resources.error.as_deref().unwrap_or("unknown");
        return format!("  {} at offset {:#x}: {error}\n", human(resources.size), resources.offset);
    };
    let mut text = format!(
        "  {} at offset {:#x}, {} entries\n",
        human(resources.size),
        resources.offset,
        resources.count
    );
    text += &entries(table).text();
    if let more @ 1.. = resources.count.saturating_sub(table.entries.len() + table.broken.len()) {
        text += &format!("  and {more} more\n");
    }
    if !resources.shared_memory.is_empty() {
        text += "  shared memory with fixed addresses\n";
        let mut places = Table::default();
        for place in &resources.shared_memory {
            let region = match (&place.region, place.reserved) {
                (Some(region), true) => format!("in {region}, which the board reserves"),
                (Some(region), false) => format!("in {region}"),
                (None, _) => String::new(),
            };
            places.row([
                String::new(),
                place.what.clone(),
                human(place.size),
                place.address.to_string(),
                region,
            ]);
        }
        text += &places.text();
    }
    text
}

fn entries(table: &ResourceTable) -> Table {
    let mut rows = Table::default();
    for entry in &table.entries {
        rows.row([entry.index.to_string(), kind(entry), details(entry)]);
        if let Resource::Vdev(vdev) = &entry.resource {
            for (index, vring) in vdev.vrings.iter().enumerate() {
                let (place, num, align) = (address(vring.da), vring.num, vring.align);
                let details =
                    format!("{place}, {num} buffers, aligned to {align}, notify id {}", vring.notify_id);
                rows.row([String::new(), format!("vring {index}"), details]);
            }
        }
    }
    for broken in &table.broken {
        rows.row([broken.index.to_string(), "broken".to_owned(), broken.error.to_string()]);
    }
    rows
}

fn kind(entry: &Entry) -> String {
    let (name, kind) = (entry.type_name(), entry.kind);
    if kind < 4 { name.to_owned() } else { format!("{name} ({kind})") }
}

fn details(entry: &Entry) -> String {
    match &entry.resource {
        Resource::Carveout(request) | Resource::Devmem(request) => format!(
            "{:?}, {}, {}, physical {}, flags {:#x}",
            request.name,
            human(request.len.into()),
            address(request.da),
            address(request.pa),
            request.flags
        ),
        Resource::Trace { da, len, name, .. } => {
            format!("{name:?}, {}, {}", human((*len).into()), address(*da))
        }
        Resource::Vdev(vdev) => {
            let rpmsg = if vdev.id == VIRTIO_ID_RPMSG { " (RPMsg)" } else { "" };
            format!(
                "virtio id {}{rpmsg}, features {:#x}, {} bytes of configuration, notify id {}",
                vdev.id, vdev.features, vdev.config_len, vdev.notify_id
            )
        }
        Resource::EndpointTable { bound } => format!("{bound} of 64 endpoints bound"),
        Resource::RingBufferPair { da: 0, len, .. } => format!("{}, anywhere", human(*len)),
        Resource::RingBufferPair { da, len, .. } => format!("{}, at {}", human(*len), Address(*da)),
        Resource::VringOffsets { offsets } => {
            let offsets: Vec<_> = offsets.iter().map(|offset| format!("{offset:#x}")).collect();
            offsets.join(" ")
        }
        Resource::Other => String::new(),
    }
}

fn address(address: Option<u32>) -> String {
    address.map_or("anywhere".to_owned(), |address| format!("at {address:#x}"))
}

fn pedestals(facts: &Facts) -> String {
    let mut table = Table::default();
    for fit in &facts.pedestals {
        let possible = if fit.possible { "possible" } else { "no" };
        table.row([fit.pedestal.to_string(), possible.to_owned(), fit.because.clone()]);
    }
    table.text()
}
