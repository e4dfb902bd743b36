//! The systems that are recognised, one profile each. The first that matches wins.

use micrun_image_spec::firmware::Rtos;

use super::evidence::Traces;

/// What gives a system away. Any one line of `sections`, any symbol, or any string is enough.
pub(super) struct Profile {
    /// What it is.
    pub(super) rtos: Rtos,
    /// Groups of sections; all of a group have to be there.
    sections: &'static [&'static [&'static str]],
    /// Symbols that only this system defines.
    pub(super) symbols: &'static [&'static str],
    /// True if absolute symbols `CONFIG_...` give it away.
    config_symbols: bool,
    /// Texts that only this system prints, looked for in what is loaded.
    strings: &'static [&'static str],
    /// The text in front of the version.
    pub(super) version_prefix: Option<&'static str>,
}

pub(super) static PROFILES: &[Profile] = &[
    // Seen in builds of 3.2 and 3.5. Section names without a dot survive strip; a build with a shell has no
    // banner; 3.2 has the banner as a format string, 3.5 with the version in it, which may be empty.
    Profile {
        rtos: Rtos::Zephyr,
        sections: &[
            &["initlevel", "sw_isr_table"],
            &["initlevel", "device_area"],
            &["initlevel", "device_states"],
            &["initlevel", "devices"],
            &["initlevel", "device_handles"],
            &["text", "rodata", "datas"],
        ],
        symbols: &["z_cstart", "_ConfigAbsSyms", "bg_thread_main"],
        config_symbols: true,
        strings: &["*** Booting Zephyr OS build", "ZEPHYR FATAL ERROR", "zephyr_code"],
        version_prefix: Some("*** Booting Zephyr OS build "),
    },
    // Seen in builds of 22.03 and 24.03-LTS.
    Profile {
        rtos: Rtos::Uniproton,
        sections: &[&[".os.bss", ".os.data"], &[".start_bspinit"]],
        symbols: &["OsHwInit", "OsConfigStart", "PRT_TaskCreate", "PRT_HwiCreate"],
        config_symbols: false,
        strings: &["UniProton 2"],
        version_prefix: Some("UniProton "),
    },
    // FreeRTOS leaves no text of its own; its public functions are all there is.
    Profile {
        rtos: Rtos::Freertos,
        sections: &[],
        symbols: &["vTaskStartScheduler", "vTaskSwitchContext", "pxCurrentTCB"],
        config_symbols: false,
        strings: &[],
        version_prefix: None,
    },
    Profile {
        rtos: Rtos::RtThread,
        sections: &[],
        symbols: &["rtthread_startup", "rt_system_scheduler_start"],
        config_symbols: false,
        strings: &["- RT -     Thread Operating System"],
        version_prefix: None,
    },
    Profile {
        rtos: Rtos::Nuttx,
        sections: &[],
        symbols: &["nx_start", "nxsched_add_readytorun"],
        config_symbols: false,
        strings: &["NuttShell (NSH)"],
        version_prefix: Some("NuttShell (NSH) NuttX-"),
    },
    // Two programs without an operating system that many people have at hand.
    Profile {
        rtos: Rtos::U_BOOT,
        sections: &[&["__u_boot_list"]],
        symbols: &[],
        config_symbols: false,
        strings: &[],
        version_prefix: Some("U-Boot "),
    },
    Profile {
        rtos: Rtos::OPENSBI,
        sections: &[],
        symbols: &["sbi_boot_hart_init", "sbi_init"],
        config_symbols: false,
        strings: &["\nOpenSBI "],
        version_prefix: Some("\nOpenSBI "),
    },
];

impl Profile {
    /// Everything that is looked for in what is loaded.
    pub(super) fn texts(&self) -> impl Iterator<Item = &'static str> {
        self.strings.iter().copied().chain(self.version_prefix)
    }

    /// What gave the system away; None if nothing did.
    pub(super) fn matches(&self, traces: &Traces) -> Option<String> {
        if let Some(group) =
            self.sections.iter().find(|group| group.iter().all(|name| traces.has_section(name)))
        {
            let plural = if group.len() == 1 { "section" } else { "sections" };
            return Some(format!("{plural} `{}`", group.join("`, `")));
        }
        if let Some(name) = self.symbols.iter().find(|name| traces.has_symbol(name)) {
            return Some(format!("symbol `{name}`"));
        }
        if self.config_symbols && traces.has_config_symbols {
            return Some("symbols `CONFIG_...`".to_owned());
        }
        let text = self.strings.iter().find(|text| traces.has_string(text))?;
        Some(format!("text `{}`", text.trim()))
    }
}
