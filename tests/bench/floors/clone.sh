# shellcheck shell=bash
# The floor of a clone. Arguments: the source's name and host, the clone's name and host, WP-CLI.
set -euo pipefail

source=$1 source_host=$2 name=$3 host=$4 wp_cli=$5
folder=/var/www/floor/$name
pool=$(echo /etc/php/*/fpm/pool.d)
version=${pool#/etc/php/}
version=${version%%/*}
password=$(head -c 18 /dev/urandom | od -An -tx1 | tr -d ' \n')

useradd --system --no-create-home --home-dir "$folder" --shell /usr/sbin/nologin "$name"
mkdir -p "$folder"
cp -a "/var/www/floor/$source/." "$folder/"
mariadb -e "CREATE DATABASE $name CHARACTER SET utf8mb4; CREATE USER '$name'@'localhost' IDENTIFIED BY '$password'; GRANT ALL ON $name.* TO '$name'@'localhost'"
mariadb-dump --single-transaction --quick "$source" | mariadb "$name"
sed -i "s/'DB_NAME', '[^']*'/'DB_NAME', '$name'/; s/'DB_USER', '[^']*'/'DB_USER', '$name'/; s/'DB_PASSWORD', '[^']*'/'DB_PASSWORD', '$password'/; s#/floor/$source/#/floor/$name/#" \
	"$folder/current/wp-config.php"
chown -R "$name:" "$folder"
runuser -u "$name" -- php -d memory_limit=512M "$wp_cli" --path="$folder/current/live" search-replace "//$source_host" "//$host" --all-tables \
	--skip-plugins --skip-themes --report-changed-only >/dev/null
sed "s/$source_host/$host/g; s/$source/$name/g" "$pool/$source.conf" >"$pool/$name.conf"
sed "s/$source_host/$host/g; s/$source/$name/g" "/etc/nginx/sites-enabled/$source.conf" >"/etc/nginx/sites-enabled/$name.conf"
nginx -t -q
systemctl reload "php$version-fpm" nginx
for _ in $(seq 200); do
	if curl --silent --fail --header "Host: $host" http://127.0.0.1/ | grep -F "$host" >/dev/null; then exit 0; fi
	sleep 0.01
done
echo "the page of $host does not answer" >&2
exit 1
