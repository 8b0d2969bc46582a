# shellcheck shell=bash
# The floor of a restore, from an archive on standard input. Arguments: the name, its host, the archive's SHA-256.
set -euo pipefail

name=$1 host=$2 sum=$3
folder=/var/www/floor/$name
next=next$(date +%s%N)
staged=$(mktemp)
trap 'rm -f -- "$staged"' EXIT
tee "$staged" | sha256sum | grep -q "^$sum "
mkdir "$folder/$next"
zstd -q -dc "$staged" | tar -C "$folder/$next" -xf -
cp -a "$folder/current/wp-config.php" "$folder/$next/"
mariadb -e "CREATE DATABASE ${name}_$next CHARACTER SET utf8mb4; GRANT ALL ON ${name}_$next.* TO '$name'@'localhost'"
mariadb "${name}_$next" <"$folder/$next/database.sql"
rm -- "$folder/$next/database.sql"
sed -i "s/'DB_NAME', '[^']*'/'DB_NAME', '${name}_$next'/" "$folder/$next/wp-config.php"
chown "$name:" "$folder/$next"
ln -s "$next" "$folder/.current"
mv -T "$folder/.current" "$folder/current"
curl --silent --fail --header "Host: $host" http://127.0.0.1/ | grep -F "$host" >/dev/null
