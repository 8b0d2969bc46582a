# Runs inside the machine as the login user, so whatever links the machine may hold lead nowhere that the user could not go.
# Standard input: one public key line. Appends it to authorized_keys where exactly that line is missing; otherwise the file
# stays as it is, byte for byte.
set -eu
umask 077
IFS= read -r key
[ -n "$key" ]
home=$(getent passwd "$(id -un)" | cut -d: -f6)
cd "$home"
[ -d .ssh ] || mkdir .ssh
[ -e .ssh/authorized_keys ] || : >.ssh/authorized_keys
chmod 700 .ssh
chmod 600 .ssh/authorized_keys
if ! grep -qxF -e "$key" .ssh/authorized_keys; then
    end=
    if [ -s .ssh/authorized_keys ] && [ "$(tail -c 1 .ssh/authorized_keys | wc -l)" -eq 0 ]; then
        end='
'
    fi
    printf '%s%s\n' "$end" "$key" >>.ssh/authorized_keys
fi
# Looked at again, as sshd will: the line stands once, both belong to the user and to nobody else.
[ "$(grep -cxF -e "$key" .ssh/authorized_keys)" -ge 1 ]
[ "$(stat -c '%U %a' .ssh)" = "$(id -un) 700" ]
[ "$(stat -c '%U %a' .ssh/authorized_keys)" = "$(id -un) 600" ]
echo pressluft-key-present
