//! What the processes of one machine have in common: its clock, each other, and a folder of their user's.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// The time since an origin that all processes of the machine share: since it was started, where the system can tell. It
/// counts the time in which the machine sleeps, which a process does not see.
pub fn time() -> Duration {
    #[cfg(unix)]
    {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(CLOCK);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
    #[cfg(not(unix))]
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// What tells apart clocks that [`time`] reads: the start of the machine, and the namespace that it is read in.
pub fn clock_origin() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/time").unwrap_or_default();
    format!("{}{}", boot.trim(), namespace.display())
}

/// Whether a process is alive, as far as can be told.
pub fn is_alive(process: u32) -> bool {
    #[cfg(unix)]
    {
        let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
        let Some(process) = process else { return false };
        // One that ended stays there until its parent takes note: Linux says so behind its name, which is in brackets.
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let has_ended = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']));
        !has_ended && rustix::process::test_kill_process(process) != Err(rustix::io::Errno::SRCH)
    }
    #[cfg(not(unix))]
    {
        let _ = process;
        true
    }
}

/// The folder for a user's files that live as long as the machine runs. `runtime_dir` is what was named for it.
pub fn runtime_folder(runtime_dir: Option<&Path>, xdg_runtime_dir: Option<&Path>) -> PathBuf {
    const NAME: &str = "clarifai-annotations";
    if let Some(named) = runtime_dir {
        return named.to_owned();
    }
    if let Some(folder) = xdg_runtime_dir.filter(|folder| folder.is_absolute() && folder.is_dir()) {
        return folder.join(NAME);
    }
    #[cfg(unix)]
    {
        let user = rustix::process::geteuid().as_raw();
        // Sessions that do not say it, of cron or a notebook server, share it with those that do.
        let of_the_user = PathBuf::from(format!("/run/user/{user}"));
        if of_the_user.is_dir() {
            of_the_user.join(NAME)
        } else {
            std::env::temp_dir().join(format!("{NAME}-{user}"))
        }
    }
    #[cfg(not(unix))]
    std::env::temp_dir().join(NAME)
}

/// Makes a folder that its owner alone may enter, or checks that nobody else may write to it. Blocks.
///
/// # Errors
/// It cannot be made, is no folder, or belongs to somebody else or to others as well.
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = fs::symlink_metadata(folder)?;
        if !metadata.is_dir()
            || metadata.uid() != rustix::process::geteuid().as_raw()
            || metadata.mode() & 0o022 != 0
        {
            let text = "it is no folder that only this user may write to";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
    }
    Ok(())
}
