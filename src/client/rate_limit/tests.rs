//! What the rate limit does in paused time, alone and with others that share its file.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{self, Instant};

use super::{
    clock::Clock,
    codec,
    process_window::Window,
    shared_file::SharedFile,
    store::Place,
    window::{Member, SlidingWindow},
    *,
};

/// A limiter of a process that shares nothing.
fn limiter(rate: Rate, max_in_flight: usize) -> RateLimiter {
    let clock = Clock::Process { start: Instant::now() };
    RateLimiter::of_window(Window::new(None, clock), rate, max_in_flight)
}

/// A limiter of one of several processes, which share a file in this folder.
fn sharing(folder: &Path, rate: f64, start: Instant) -> RateLimiter {
    let place = Place { folder: folder.into(), service: "http://localhost".into(), user_id: "me".into() };
    let window = Window::new(Some(place), Clock::Process { start });
    RateLimiter::of_window(window, Rate::PerSecond(rate), 32)
}

/// Sends a request that is answered at once.
async fn send(limiter: &RateLimiter) {
    let permit = limiter.acquire().await;
    permit.send(0).unwrap().mark();
    permit.release(false);
}

/// The moments at which `count` requests are sent that all come at once, in seconds.
async fn moments(limiter: &RateLimiter, count: usize) -> Vec<f64> {
    let start = Instant::now();
    let mut moments = Vec::new();
    for _ in 0..count {
        send(limiter).await;
        moments.push(start.elapsed().as_secs_f64());
    }
    moments
}

fn file_in(folder: &Path) -> PathBuf {
    fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
}

/// Changes the window that is in the file of a folder.
fn change_file(folder: &Path, change: impl FnOnce(&mut SlidingWindow)) {
    let path = file_in(folder);
    let mut window = codec::decode(&fs::read(&path).unwrap()).unwrap();
    change(&mut window);
    fs::write(&path, codec::encode(&window)).unwrap();
}

/// As if the process of a member had been killed: no process has this number.
fn kill(member: &mut Member) {
    member.process = i32::MAX as u32;
}

#[tokio::test(start_paused = true)]
async fn a_fresh_client_may_send_a_whole_second_of_requests_in_a_fifth_of_it() {
    assert!(moments(&limiter(Rate::PerSecond(15.0), 32), 15).await[14] < 0.21);
}

#[tokio::test(start_paused = true)]
async fn no_rolling_second_sees_more_than_the_quota() {
    let moments = moments(&limiter(Rate::PerSecond(15.0), 32), 100).await;
    assert!(moments.windows(16).all(|window| window[15] - window[0] > 1.0));
}

#[tokio::test(start_paused = true)]
async fn less_than_one_request_a_second_is_a_longer_wait() {
    assert!(moments(&limiter(Rate::PerSecond(0.5), 32), 2).await[1] > 2.0);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_nothing_waits() {
    let limiter = RateLimiter { in_flight: Arc::new(Semaphore::new(1)), window: None };
    let start = Instant::now();
    for _ in 0..1000 {
        limiter.acquire().await.release(false);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn no_more_are_in_flight_than_may_be() {
    let limiter = limiter(Rate::PerSecond(1000.0), 2);
    let (_one, _two) = (limiter.acquire().await, limiter.acquire().await);
    assert!(time::timeout(Duration::from_secs(60), limiter.acquire()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn cancelling_an_acquire_does_not_consume_a_permit() {
    let limiter = limiter(Rate::PerSecond(1.0), 32);
    send(&limiter).await;
    assert!(time::timeout(Duration::from_millis(500), limiter.acquire()).await.is_err());
    let start = Instant::now();
    send(&limiter).await;
    assert!(start.elapsed() < Duration::from_millis(600));
}

#[tokio::test(start_paused = true)]
async fn a_permit_whose_request_was_never_written_is_free_at_once() {
    let limiter = limiter(Rate::PerSecond(1.0), 32);
    let permit = limiter.acquire().await;
    let _never_marked = permit.send(0);
    drop(permit);
    let start = Instant::now();
    send(&limiter).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_request_counts_from_when_it_is_written_however_long_its_connection_took() {
    let limiter = limiter(Rate::PerSecond(1.0), 32);
    let start = Instant::now();
    let permit = limiter.acquire().await;
    let mark = permit.send(0).unwrap();
    time::sleep(Duration::from_secs(3)).await;
    mark.mark();
    permit.release(false);
    send(&limiter).await;
    assert!(start.elapsed() > Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_response_counts_until_it_is_given_up_and_a_second_longer() {
    let limiter = limiter(Rate::PerSecond(1.0), 32);
    let start = Instant::now();
    let permit = limiter.acquire().await;
    permit.send(0).unwrap().mark();
    assert!(time::timeout(Duration::from_secs(30), limiter.acquire()).await.is_err());
    drop(permit);
    send(&limiter).await;
    assert!(start.elapsed() > Duration::from_secs(31));
}

#[tokio::test(start_paused = true)]
async fn a_response_proves_that_what_was_sent_before_on_its_connection_has_arrived() {
    let limiter = limiter(Rate::PerSecond(2.0), 32);
    for connection in [0, 0, 1] {
        let start = Instant::now();
        let slow = limiter.acquire().await;
        slow.send(connection).unwrap().mark();
        let fast = limiter.acquire().await;
        fast.send(0).unwrap().mark();
        fast.release(false);
        let both = time::timeout(Duration::from_secs(2), async {
            for _ in 0..2 {
                send(&limiter).await;
            }
        });
        assert_eq!(both.await.is_ok(), connection == 0, "{:?}", start.elapsed());
        drop(slow);
        time::sleep(Duration::from_secs(3)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_throttled_response_is_not_the_quota() {
    let limiter = limiter(Rate::PerSecond(15.0), 32);
    moments(&limiter, 20).await;
    let permit = limiter.acquire().await;
    permit.send(0).unwrap().mark();
    permit.release(true);
    let start = Instant::now();
    moments(&limiter, 150).await;
    assert!(start.elapsed() < Duration::from_secs(12));
}

#[tokio::test(start_paused = true)]
async fn processes_share_the_rate_and_the_strictest_holds() {
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let (one, other) = (sharing(folder.path(), 10.0, start), sharing(folder.path(), 2.0, start));
    send(&other).await;
    let begun = Instant::now();
    for _ in 0..2 {
        send(&one).await;
        send(&other).await;
    }
    assert!(begun.elapsed() > Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_rate_are_put_together_on_a_machine() {
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let parts = [3.9999999, 4.0, 7.0].map(|rate| {
        let limiter = sharing(folder.path(), rate, start);
        limiter.window.as_ref().unwrap().window.lock().rates = vec![(rate, true)];
        limiter
    });
    // What two of them do not use, the third may, as long as they are there.
    let waiting = parts[1..].iter().map(|limiter| async {
        loop {
            send(limiter).await;
            time::sleep(Duration::from_millis(900)).await;
        }
    });
    let waiting = futures_util::future::join_all(waiting);
    tokio::select! {
        moments = moments(&parts[0], 100) => assert!((6.0..10.0).contains(&moments[99]), "{}", moments[99]),
        _ = waiting => unreachable!("they go on"),
    }
    let alone = moments(&parts[0], 40).await;
    assert!(alone[39] > 8.0, "{}", alone[39]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ended_leaves_its_slots_to_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let (one, other) = (sharing(folder.path(), 2.0, start), sharing(folder.path(), 2.0, start));
    let killed = other.acquire().await;
    killed.send(7).unwrap().mark();
    change_file(folder.path(), |window| kill(&mut window.members[0]));
    std::mem::forget(killed);
    let begun = Instant::now();
    moments(&one, 21).await;
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn of_several_processes_one_with_much_to_send_does_not_keep_the_others_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let (busy, other) = (sharing(folder.path(), 10.0, start), sharing(folder.path(), 10.0, start));
    let all = async {
        moments(&busy, 200).await;
    };
    let few = async {
        let mut waits = Vec::new();
        for _ in 0..10 {
            time::sleep(Duration::from_millis(700)).await;
            let begun = Instant::now();
            send(&other).await;
            waits.push(begun.elapsed());
        }
        waits
    };
    tokio::pin!(all, few);
    let waits = tokio::select! {
        waits = &mut few => waits,
        () = all => unreachable!("it has more to send"),
    };
    assert!(waits.iter().all(|wait| *wait < Duration::from_millis(1100)), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rate_between_whole_numbers_is_the_lower_one() {
    for rate in [15.9, 2.9, 1.5] {
        let moments = moments(&limiter(Rate::PerSecond(rate), 32), 60).await;
        let most = rate as usize;
        assert!(moments.windows(most + 1).all(|window| window[most] - window[0] > 1.0), "{rate}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_strict_client_that_is_closed_or_gone_holds_nobody_down() {
    for is_closed in [true, false] {
        let window = Arc::new(Window::new(None, Clock::Process { start: Instant::now() }));
        let of_rate = |rate| RateLimiter {
            in_flight: Arc::new(Semaphore::new(32)),
            window: Some(Registration::new(Arc::clone(&window), Rate::PerSecond(rate), false)),
        };
        let (strict, other) = (of_rate(0.005), of_rate(15.0));
        send(&strict).await;
        if is_closed {
            strict.close();
        } else {
            drop(strict);
        }
        assert!(moments(&other, 10).await[9] < 3.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_strict_process_that_ended_holds_nobody_down() {
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let (strict, other) = (sharing(folder.path(), 0.005, start), sharing(folder.path(), 15.0, start));
    let killed = strict.acquire().await;
    killed.send(7).unwrap().mark();
    change_file(folder.path(), |window| kill(&mut window.members[0]));
    std::mem::forget(killed);
    assert!(moments(&other, 10).await[9] < 5.0);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_without_the_file_counts_when_it_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let limiter = sharing(folder.path(), 15.0, Instant::now());
    send(&limiter).await;
    let held = fs::File::open(file_in(folder.path())).unwrap();
    held.lock().unwrap();
    send(&limiter).await;
    held.unlock().unwrap();
    // The file is tried again in the middle of these.
    let moments = moments(&limiter, 300).await;
    assert!(moments.windows(16).all(|window| window[15] - window[0] > 1.0));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let limiter = sharing(folder.path(), 15.0, Instant::now());
    send(&limiter).await;
    let path = file_in(folder.path());
    for damage in [&b"garbage"[..], &[0; 100], &[255; 5000]] {
        fs::write(&path, damage).unwrap();
        send(&limiter).await;
        assert!(codec::decode(&fs::read(&path).unwrap()).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_of_another_clock_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let limiter = sharing(folder.path(), 1.0, Instant::now());
    send(&limiter).await;
    change_file(folder.path(), |window| {
        window.answered.back_mut().unwrap().at += Duration::from_secs(3600);
    });
    let begun = Instant::now();
    send(&limiter).await;
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_removed_or_cannot_be_made_costs_the_sharing_alone() {
    let folder = tempfile::tempdir().unwrap();
    let removed = sharing(folder.path(), 15.0, Instant::now());
    send(&removed).await;
    fs::remove_file(file_in(folder.path())).unwrap();
    let no_folder = sharing(Path::new("/dev/null/folder"), 15.0, Instant::now());
    for limiter in [removed, no_folder] {
        let moments = moments(&limiter, 100).await;
        assert!(moments.windows(16).all(|window| window[15] - window[0] > 1.0));
        assert!(moments[99] < 8.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_file_is_made_again_after_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let limiter = sharing(folder.path(), 15.0, Instant::now());
    send(&limiter).await;
    fs::remove_file(file_in(folder.path())).unwrap();
    for _ in 0..30 {
        time::sleep(Duration::from_secs(1)).await;
        send(&limiter).await;
    }
    assert!(file_in(folder.path()).exists());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stopped_while_it_held_the_lock_is_not_waited_for_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let limiter = sharing(folder.path(), 15.0, Instant::now());
    send(&limiter).await;
    let held = fs::File::open(file_in(folder.path())).unwrap();
    held.lock().unwrap();
    let moments = moments(&limiter, 30).await;
    assert!((1.0..5.0).contains(&moments[29]), "{moments:?}");
}

#[test]
fn the_file_holds_and_its_name_shows_no_id() {
    let folder = tempfile::tempdir().unwrap();
    let file = SharedFile::open(folder.path(), "http://localhost", "somebody").unwrap();
    assert!(!file.path().to_string_lossy().to_lowercase().contains("somebody"));
    let other = SharedFile::open(folder.path(), "http://localhost", "nobody").unwrap();
    assert_ne!(file.path(), other.path());
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_may_write_to_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(SharedFile::open(folder.path(), "http://localhost", "me").is_err());
    let made = folder.path().join("made/below");
    SharedFile::open(&made, "http://localhost", "me").unwrap();
    assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test(start_paused = true)]
#[ignore = "prints a figure of benches/README.md"]
async fn cost() {
    const COUNT: u32 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    for (what, limiter) in [
        ("alone", limiter(Rate::PerSecond(15.0), 32)),
        ("in a shared file", sharing(folder.path(), 15.0, Instant::now())),
    ] {
        let mut spent = Duration::ZERO;
        for _ in 0..COUNT {
            time::advance(Duration::from_millis(100)).await;
            let begun = std::time::Instant::now();
            let permit = limiter.acquire().await;
            permit.send(0).unwrap().mark();
            permit.release(false);
            spent += begun.elapsed();
        }
        println!("a permit {what}: {:?}", spent / COUNT);
    }
}
