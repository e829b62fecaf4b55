//! What people write, of most forms that there are.

/// Words of mount(8), with blanks between them.
pub(super) const MOUNT_HELPER: [&str; 4] = [
    "/repo /mnt -v -o rw,noexec,nosuid,nodev,allow_other,cache_size=1G,nofail,user",
    "-sno ro,log_file=/x=y,x-systemd.automount,no_pin,no_poll,what=ever /repo /mnt -tfuse",
    "/repo:latest/etc /mnt -o ro,password_file=/p,by_time_format=%Y-%m-%d",
    "/repo /mnt -f -o samba,key_file=/k,comment=x",
];

pub(super) const CONFIGURATION: &str = "repository = '/r'
password-file = '/p'
encrypt = true
[profiles.home]
sources = ['/home']
exclude = ['*.o', '!keep.o']
exclude-if-present = ['.nobackup:x']
exclude-larger-than = '1G'
read-concurrency = '4'
limit-rate = '50M'
compression = 'zstd:3'
tag = ['a']
[profiles.home.hooks]
before = ['true']
[policies.standard]
keep-last = 'unlimited'
keep-daily = 30
keep-within = '1y6m'
keep-tag = ['a']
max-age = '7y'
max-snapshots = 500
group-by = 'host,tags'
time-zone = 'UTC'
[log]
keep-days = 730
";

pub(super) const OPTIONS: [&str; 14] = [
    "64MiB",
    "1G",
    "+1k",
    "-7",
    "1..9M",
    "zstd:22",
    "lz4",
    "host,sources",
    "unlimited",
    "30",
    "{id}\\t{{",
    "%Y%m%dT%H%M%SZ",
    "%A %B %-d %e %j %G-W%V %s %f %N",
    "%10Y%_5d%0300H",
];

/// A path, and patterns for it.
pub(super) const PATTERNS: [&str; 6] = [
    "home/u/a.o\n*.o\n!keep.o\n/home/u/tmp\ncache/\na/**/z",
    "etc/nginx/x\netc/nginx\n/etc/*.conf\n**/b/*",
    "a/b/z\na/**/z\n[a-c]/{b,c}/?\n\\#x",
    "a/#draft#\n#*#\na \n",
    "x/y/z\n/x/*/z\n",
    "x/y\n**/x/**\nx/**\n**\n",
];
