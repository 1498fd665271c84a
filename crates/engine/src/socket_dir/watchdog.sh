# Outlives the engine and does what that can no longer do (D3). Its argument is the engine's private directory; its
# standard input ends when the engine does; its standard output is the directory itself, and holds its lock.
trap '' HUP INT QUIT TERM
cd /

# What the engine says: which process groups there are, and whether it needs us no more.
groups=' '
while read -r word group; do
    case $word in
    watch) groups="$groups$group " ;;
    forget)
        case $groups in
        *" $group "*) groups="${groups%% "$group" *} ${groups#* "$group" }" ;;
        esac
        ;;
    esac
done

# The engine is gone, or lets go. Its workers, and whatever else it ran, end as they would by its hand (D7): SIGTERM,
# the grace of D2, SIGKILL. A group that is seen to be gone is not looked at again, for its number may come back.
for group in $groups; do
    kill -s TERM "$group"
done 2>/dev/null
turns=50
while [ "$groups" ] && [ "$turns" -ge 0 ]; do
    left=
    for group in $groups; do
        if kill -s 0 -- "-$group"; then
            left="$left $group"
            [ "$turns" -gt 0 ] || kill -s KILL -- "-$group"
        fi
    done 2>/dev/null
    groups=$left
    if [ "$groups" ]; then
        sleep 0.1 2>/dev/null || sleep 1
    fi
    turns=$((turns - 1))
done

away() {
    rm -f -- "$1"/*.sock "$1/clean-up" "$1/clean-up.new"
    rmdir -- "$1"
    # This group alone: what the clean-up has left behind, the clock below, and this shell.
    kill -s KILL 0
} >/dev/null 2>&1

if [ -f "$1/clean-up" ]; then
    read -r _ _ _ _ seconds <"$1/clean-up"
    (
        sleep "$seconds"
        away "$1"
    ) >/dev/null 2>&1 &
    (
        trap - HUP INT QUIT TERM
        exec /bin/sh "$1/clean-up"
    ) </dev/null >/dev/null 2>&1
fi
away "$1"
