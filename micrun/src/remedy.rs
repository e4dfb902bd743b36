//! What to do about an answer of the operating system's, for the ends of error messages.

use std::io;

use rustix::io::Errno;

/// What the user can do about an error, with a `; ` before it; nothing where the error alone says it all.
pub fn remedy(error: &io::Error) -> &'static str {
    let Some(errno) = Errno::from_io_error(error) else { return "" };
    match errno {
        Errno::NOSPC | Errno::DQUOT => {
            "; that file system is full: free space or inodes there (df, df -i), or delete containers"
        }
        Errno::ROFS => "; that file system is mounted read-only: mount it writable",
        Errno::MFILE => "; raise the limit of open files, LimitNOFILE= in containerd's unit",
        Errno::NFILE => "; raise the node's limit of open files, fs.file-max",
        Errno::NOMEM => "; end something else that needs memory, or give the guest less",
        Errno::AGAIN => "; raise the limit of tasks, TasksMax= in containerd's unit, or end other processes",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_a_remedy_and_a_missing_file_speaks_for_itself() {
        assert!(remedy(&Errno::NOSPC.into()).contains("free space"));
        assert!(remedy(&Errno::MFILE.into()).contains("LimitNOFILE"));
        assert_eq!(remedy(&Errno::NOENT.into()), "");
        assert_eq!(remedy(&io::Error::other("x")), "");
    }
}
